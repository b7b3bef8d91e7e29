//! When a certificate expires, read from its bytes: of all that X.509 has to say, this one line is of interest here, and
//! `rustls` reads the rest.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the oldest certificates leave out.
const EXPLICIT_0: u8 = 0xa0;

/// The last moment of its validity; none if the bytes do not read as a certificate.
pub(super) fn of(certificate: &[u8]) -> Option<Timestamp> {
    let certificate = Elements(certificate).next_if(SEQUENCE)?;
    let mut to_be_signed = Elements(Elements(certificate).next_if(SEQUENCE)?);
    if to_be_signed.0.first() == Some(&EXPLICIT_0) {
        to_be_signed.next()?;
    }
    let (_serial, _algorithm, _issuer) = (to_be_signed.next()?, to_be_signed.next()?, to_be_signed.next()?);
    let mut validity = Elements(to_be_signed.next_if(SEQUENCE)?);
    validity.next()?;
    let (tag, not_after) = validity.next()?;
    let not_after = std::str::from_utf8(not_after).ok()?;
    let digits = match tag {
        // Two digits for the years from 1950 to 2049.
        UTC_TIME if not_after.get(..2)? < "50" => format!("20{not_after}"),
        UTC_TIME => format!("19{not_after}"),
        GENERALIZED_TIME => not_after.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", &digits).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The elements of a DER encoding that are not read yet.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = length.iter().try_fold(0usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn next_if(&mut self, expected: u8) -> Option<&'a [u8]> {
        let (tag, content) = self.next()?;
        (tag == expected).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_expiry_is_read_in_both_spellings_of_time() {
        for (year, month, day) in [
            (1999, 12, 31),
            (2026, 11, 23),
            (2049, 12, 31),
            (2050, 1, 1),
            (9999, 1, 2),
        ] {
            let expected: Timestamp = format!("{year}-{month:02}-{day:02}T00:00:00Z").parse().unwrap();
            assert_eq!(of(&certificate(year, month, day)), Some(expected));
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_or_is_no_certificate_has_no_expiry() {
        let whole = certificate(2030, 1, 1);
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), None, "{length} bytes");
        }
        for noise in [
            &b"-----BEGIN"[..],
            &[0x30; 64],
            &[0xff; 64],
            &[0x30, 0x89, 1, 2, 3],
        ] {
            assert_eq!(of(noise), None, "{noise:?}");
        }
    }
}
