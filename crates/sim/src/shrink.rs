//! Finds the shortest history near a seed that still breaks the same promise: fewer actors, fewer replicas, less that
//! goes wrong, an earlier end. Taking something away changes the luck of whatever remains; so each smaller world is
//! tried with other luck too, a few times.

use crate::checker::{self, Violation};
use crate::mask::Mask;
use crate::world::{self, History};

/// With how many other kinds of luck a smaller world is tried.
const LUCK: u64 = 24;
/// How many actors a history has at most; one that is not there is not missed.
const ACTORS_MAX: usize = 12;

/// Says what a history breaks.
pub type Judge<'a> = dyn Fn(&History) -> Vec<Violation> + 'a;

/// What shrinking came to.
#[derive(Debug)]
pub struct Shrunk {
    /// What to take away.
    pub mask: Mask,
    /// What remains.
    pub history: History,
    /// What that breaks.
    pub violations: Vec<Violation>,
    /// How many histories were played to find it.
    pub played: u64,
}

/// The shortest history found near `seed` that breaks `invariant`, in at most so many histories. None: the seed does
/// not break it in the first place.
#[must_use]
pub fn shrink(seed: u64, invariant: &str, plays_max: u64) -> Option<Shrunk> {
    shrink_by(&checker::check, seed, invariant, plays_max)
}

/// As [`shrink`], by the word of another judge.
#[must_use]
pub fn shrink_by(judge: &Judge<'_>, seed: u64, invariant: &str, plays_max: u64) -> Option<Shrunk> {
    let mut best = attempt(judge, seed, Mask::default(), invariant)?;
    let mut played = 1;
    loop {
        let mut smaller = None;
        'search: for mask in simpler(&best) {
            for luck in 0..=LUCK {
                if played >= plays_max {
                    break 'search;
                }
                let again = if luck == 0 { best.mask.again } else { Some(luck) };
                played += 1;
                if let Some(found) = attempt(
                    judge,
                    seed,
                    Mask {
                        again,
                        ..mask.clone()
                    },
                    invariant,
                ) && length(&found.history) < length(&best.history)
                {
                    smaller = Some(found);
                    break 'search;
                }
            }
        }
        match smaller {
            Some(found) => best = found,
            None => return Some(Shrunk { played, ..best }),
        }
    }
}

fn attempt(judge: &Judge<'_>, seed: u64, mask: Mask, invariant: &str) -> Option<Shrunk> {
    let history = world::play_masked(seed, &mask);
    let violations = judge(&history);
    let same = violations
        .iter()
        .any(|violation| violation.invariant == invariant);
    same.then_some(Shrunk {
        mask,
        history,
        violations,
        played: 1,
    })
}

/// How long a history is to read.
fn length(history: &History) -> usize {
    2 * history.records.len() + history.bucket.events().len()
}

/// What could be taken away next, the largest pieces first; the last is nothing but other luck.
fn simpler(best: &Shrunk) -> Vec<Mask> {
    let mask = &best.mask;
    let mut masks = Vec::new();
    let last = best
        .violations
        .iter()
        .map(|violation| violation.at)
        .filter(|at| *at < u64::MAX)
        .max();
    let seconds = last.map_or(u64::MAX, |at| at / 1_000_000_000 + 1);
    let until = mask.until.unwrap_or(u64::MAX).min(seconds);
    masks.extend(
        [until / 4, until / 2, until / 4 * 3, until]
            .into_iter()
            .filter(|until| mask.until.is_none_or(|old| *until < old))
            .map(|until| Mask {
                until: Some(until),
                ..mask.clone()
            }),
    );
    if mask.units.is_none() {
        masks.push(Mask {
            units: Some(1),
            ..mask.clone()
        });
    }
    let actors = (0..ACTORS_MAX).filter(|actor| mask.keeps(*actor));
    masks.extend(actors.map(|actor| {
        let mut without = mask.without.clone();
        without.push(actor);
        without.sort_unstable();
        Mask {
            without,
            ..mask.clone()
        }
    }));
    masks.extend((1..mask.replicas.unwrap_or(3)).map(|replicas| Mask {
        replicas: Some(replicas),
        ..mask.clone()
    }));
    let faults = mask.faults.unwrap_or(200);
    masks.extend(
        [0, 10, 40]
            .into_iter()
            .filter(|fewer| *fewer < faults)
            .map(|faults| Mask {
                faults: Some(faults),
                ..mask.clone()
            }),
    );
    masks.push(mask.clone());
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Told;

    /// Objects whenever somebody has to wait for somebody else's lock.
    fn nobody_waits(history: &History) -> Vec<Violation> {
        let waits = history
            .records
            .iter()
            .filter(|record| matches!(record.told, Told::Locked(_)));
        waits
            .map(|record| Violation {
                invariant: "nobody-waits",
                unit: record.unit.clone(),
                at: record.until,
                what: String::new(),
            })
            .collect()
    }

    #[test]
    fn what_is_broken_is_shortened_to_what_it_takes_and_a_seed_with_its_mask_plays_it_again() {
        let seed = (1..)
            .find(|seed| nobody_waits(&world::play(*seed)).len() > 3)
            .unwrap();
        let whole = world::play(seed);
        let shrunk = shrink_by(&nobody_waits, seed, "nobody-waits", 600).unwrap();
        assert!(!nobody_waits(&shrunk.history).is_empty());
        assert!(
            length(&shrunk.history) * 4 < length(&whole),
            "{} of {}",
            length(&shrunk.history),
            length(&whole)
        );
        let again = world::play_masked(seed, &shrunk.mask.to_string().parse().unwrap());
        assert_eq!(crate::trace::tell(&again), crate::trace::tell(&shrunk.history));
    }

    #[test]
    fn what_is_not_broken_is_not_shortened() {
        assert!(shrink(1, "nobody-waits", 10).is_none());
    }
}
