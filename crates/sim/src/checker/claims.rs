//! Which cause had which effect, where more than one may have had it.

use std::collections::{BTreeMap, BTreeSet};

/// Each cause has one effect at most, and no effect is without a cause if there is any way to have it so.
#[derive(Debug)]
pub(crate) struct Claims<C> {
    /// By effect, what it may have come of, the likeliest first.
    causes: Vec<Vec<C>>,
    /// By cause, the effect that it had.
    effects: BTreeMap<C, usize>,
}

impl<C> Default for Claims<C> {
    fn default() -> Self {
        Self {
            causes: Vec::new(),
            effects: BTreeMap::new(),
        }
    }
}

impl<C: Ord + Copy> Claims<C> {
    /// Finds a cause for one more effect, and other causes for other effects if that makes room. False: there is none.
    pub(crate) fn claim(&mut self, causes: Vec<C>) -> bool {
        self.causes.push(causes);
        self.find(self.causes.len() - 1, &mut BTreeSet::new())
    }

    fn find(&mut self, effect: usize, tried: &mut BTreeSet<C>) -> bool {
        for cause in self.causes[effect].clone() {
            if !tried.insert(cause) {
                continue;
            }
            let is_free = match self.effects.get(&cause) {
                Some(other) => self.find(*other, tried),
                None => true,
            };
            if is_free {
                self.effects.insert(cause, effect);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_makes_room_for_an_effect_that_has_no_other() {
        let mut claims = Claims::default();
        assert!(claims.claim(vec![1, 2]));
        assert!(claims.claim(vec![2, 3]));
        assert!(
            claims.claim(vec![1]),
            "the first effect goes to 2, the second to 3"
        );
        assert!(!claims.claim(vec![1, 2, 3]), "each has one effect at most");
    }
}
