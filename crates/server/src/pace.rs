//! How often an address may ask for tokens.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// After how many addresses those that have been quiet are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Requests by address. One that asks too often waits; others do not notice.
#[derive(Debug)]
pub struct Pace {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

impl Pace {
    /// Requests a minute from one address, unless configured: many people may share one.
    pub const DEFAULT: NonZeroU32 = NonZeroU32::new(600).expect("it is more than nothing");

    /// So many requests a minute from each address.
    #[must_use]
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// After how many seconds it may come again.
    pub fn admit(&self, from: IpAddr) -> Result<(), u64> {
        if self.limiter.len() > ADDRESSES_MAX {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&whose(from)).map_err(|wait| {
            let left = wait.wait_time_from(DefaultClock::default().now());
            left.as_secs() + 1
        })
    }
}

/// Whoever has one address of a network of IPv6 has all of them.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !(u128::MAX >> 64)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_asks_too_often_waits_and_its_neighbour_does_not() {
        let pace = Pace::new(NonZeroU32::new(2).unwrap());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!((pace.admit(one), pace.admit(one)), (Ok(()), Ok(())));
        let seconds = pace.admit(one).unwrap_err();
        assert!((1..=31).contains(&seconds), "{seconds}");
        assert_eq!(pace.admit(other), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let of = |text: &str| whose(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
