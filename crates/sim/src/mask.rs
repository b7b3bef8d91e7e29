//! What is taken away from the history of a seed, so that what remains still plays: fewer actors, fewer replicas, less
//! that goes wrong, an earlier end. A seed and a mask are one history, as a seed alone is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is taken away. It is spelled as words with commas in between: `without=1+3,replicas=1,faults=10,until=130`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// `without=1+3`: the actors with these numbers, counted from 0 in the order they were drawn, do nothing.
    pub without: Vec<usize>,
    /// `replicas=1`: at most so many.
    pub replicas: Option<u64>,
    /// `units=1`: at most so many.
    pub units: Option<usize>,
    /// `faults=10`: of a thousand requests at most so many go wrong.
    pub faults: Option<u32>,
    /// `until=130`: after so many seconds every actor stops where it stands.
    pub until: Option<u64>,
    /// `again=7`: the same actors, with other luck.
    pub again: Option<u64>,
}

impl Mask {
    /// Whether this actor acts.
    #[must_use]
    pub fn keeps(&self, actor: usize) -> bool {
        !self.without.contains(&actor)
    }

    /// The moment at which everybody stops.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        self.until.map(Duration::from_secs)
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without: Vec<String> = self.without.iter().map(ToString::to_string).collect();
        let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
        let words = [
            (!without.is_empty()).then(|| format!("without={}", without.join("+"))),
            number("replicas", self.replicas),
            number("units", self.units.map(|units| units as u64)),
            number("faults", self.faults.map(u64::from)),
            number("until", self.until),
            number("again", self.again),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mask = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is not of the form name=value"))?;
            let no_number = |_| format!("`{value}` in `{word}` is no number");
            match name {
                "without" => {
                    mask.without = value
                        .split('+')
                        .map(str::parse)
                        .collect::<Result<_, _>>()
                        .map_err(no_number)?;
                }
                "replicas" => mask.replicas = Some(value.parse().map_err(no_number)?),
                "units" => mask.units = Some(value.parse().map_err(no_number)?),
                "faults" => mask.faults = Some(value.parse().map_err(no_number)?),
                "until" => mask.until = Some(value.parse().map_err(no_number)?),
                "again" => mask.again = Some(value.parse().map_err(no_number)?),
                _ => {
                    return Err(format!(
                        "`{name}` is none of without, replicas, units, faults, until, again"
                    ));
                }
            }
        }
        Ok(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_as_it_is_spelled() {
        for text in ["", "without=1+3", "replicas=1,units=1,faults=0,until=130,again=7"] {
            assert_eq!(text.parse::<Mask>().unwrap().to_string(), text);
        }
        for junk in ["without", "without=a", "actors=1", "faults=-1"] {
            assert!(junk.parse::<Mask>().is_err(), "{junk}");
        }
    }
}
