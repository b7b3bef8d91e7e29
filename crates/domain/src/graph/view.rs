//! All edges at once: who is stale, because of whom, in which order to apply, how far a change reaches.
//!
//! A [`View`] is made of edges and knows nothing else. It answers in time that grows with what it looks at, and it
//! never recurses: neither a long chain of units nor a circle of them can stop it. Units go by their names, in the byte
//! order of which every answer comes; edges go by the place at which they were given.

use super::edge::{EdgeStatus, UnitStatus};

/// What a set of edges says of the units at their ends.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// In the byte order of their names; everywhere below, a unit is its place in here.
    units: Vec<&'a str>,
    edges: Vec<Link>,
    incoming: Lists,
    outgoing: Lists,
    statuses: Vec<UnitStatus>,
    /// Units that depend on themselves, in groups, and to which of these groups a unit belongs.
    circles: Vec<Vec<usize>>,
    circle_of: Vec<Option<usize>>,
}

/// How many incoming edges of a unit are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken.
    pub ok: usize,
    /// Not taken yet.
    pub pending: usize,
    /// Of which that cannot be told.
    pub unknown: usize,
}

/// In which order stale units can be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waves<'a> {
    /// Units of a wave need nothing of each other; each needs some unit of the wave before.
    pub waves: Vec<Vec<&'a str>>,
    /// Stale units that wait for themselves, in groups: no order puts each of them behind what it depends on.
    pub circular: Vec<Vec<&'a str>>,
    /// Stale units in no such circle that wait for one.
    pub behind: Vec<&'a str>,
}

/// A unit that a change reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached<'a> {
    /// Which unit.
    pub unit: &'a str,
    /// Over how many edges, at least.
    pub distance: usize,
    /// The last edges of all ways that are no longer than that.
    pub through: Vec<usize>,
}

impl<'a> View<'a> {
    /// Looks at these edges: from which unit, to which unit, and what is said of it.
    #[must_use]
    pub fn new(edges: impl IntoIterator<Item = (&'a str, &'a str, EdgeStatus)>) -> Self {
        let named: Vec<_> = edges.into_iter().collect();
        let mut units: Vec<&str> = named.iter().flat_map(|&(from, to, _)| [from, to]).collect();
        units.sort_unstable();
        units.dedup();
        let place = |unit| {
            units
                .binary_search(&unit)
                .expect("both ends of every edge were put in")
        };
        let edges: Vec<Link> = named
            .iter()
            .map(|&(from, to, status)| Link {
                from: place(from),
                to: place(to),
                status,
            })
            .collect();
        let incoming = Lists::new(units.len(), edges.iter().map(|edge| edge.to));
        let outgoing = Lists::new(units.len(), edges.iter().map(|edge| edge.from));
        let circles = circles(&edges, &outgoing, &vec![true; units.len()]);
        let mut view = Self {
            statuses: vec![UnitStatus::Green; units.len()],
            circle_of: groups_of(&circles, units.len()),
            units,
            edges,
            incoming,
            outgoing,
            circles,
        };
        view.statuses = view.judge();
        view
    }

    /// All units at an end of an edge.
    #[must_use]
    pub fn units(&self) -> &[&'a str] {
        &self.units
    }

    /// Whether the unit is at an end of an edge.
    #[must_use]
    pub fn contains(&self, unit: &str) -> bool {
        self.place(unit).is_some()
    }

    /// Red if an incoming edge is pending; yellow if none is, but a unit before it is red, however far before it and
    /// whatever is said of the edges between; green otherwise, and if no edge names the unit.
    #[must_use]
    pub fn status(&self, unit: &str) -> UnitStatus {
        self.place(unit)
            .map_or(UnitStatus::Green, |unit| self.statuses[unit])
    }

    /// How many incoming edges of the unit are what.
    #[must_use]
    pub fn counts(&self, unit: &str) -> Counts {
        let mut counts = Counts::default();
        for &edge in self.incoming(unit) {
            match self.edges[edge].status {
                EdgeStatus::Ok => counts.ok += 1,
                EdgeStatus::Pending => counts.pending += 1,
                EdgeStatus::Unknown => counts.unknown += 1,
            }
        }
        counts
    }

    /// The edges to the unit, in the order given.
    #[must_use]
    pub fn incoming(&self, unit: &str) -> &[usize] {
        self.place(unit).map_or(&[], |unit| self.incoming.of(unit))
    }

    /// The edges from the unit, in the order given.
    #[must_use]
    pub fn outgoing(&self, unit: &str) -> &[usize] {
        self.place(unit).map_or(&[], |unit| self.outgoing.of(unit))
    }

    /// The red units before this one, however far before it, without itself.
    #[must_use]
    pub fn red_before(&self, unit: &str) -> Vec<&'a str> {
        let Some(unit) = self.place(unit) else {
            return Vec::new();
        };
        let before = self.reached(vec![unit], &self.incoming, |edge| edge.from);
        self.named(
            (0..self.units.len())
                .filter(|&other| before[other] && other != unit && self.statuses[other] == UnitStatus::Red),
        )
    }

    /// Groups of units each of which depends on each other of its group, over however many edges; and units that depend
    /// on themselves, alone.
    #[must_use]
    pub fn cycles(&self) -> Vec<Vec<&'a str>> {
        self.circles
            .iter()
            .map(|circle| self.named(circle.iter().copied()))
            .collect()
    }

    /// One of the shortest ways around, beginning and ending with the unit; empty if it does not depend on itself.
    #[must_use]
    pub fn cycle_through(&self, unit: &str) -> Vec<&'a str> {
        let Some(unit) = self.place(unit).filter(|&unit| self.circle_of[unit].is_some()) else {
            return Vec::new();
        };
        // From the unit forwards, until an edge leads back to it. All ways around stay within its circle.
        let mut came_from: Vec<Option<usize>> = vec![None; self.units.len()];
        let mut queue = vec![unit];
        let mut next = 0;
        while came_from[unit].is_none() && next < queue.len() {
            let from = queue[next];
            next += 1;
            for &edge in self.outgoing.of(from) {
                let to = self.edges[edge].to;
                if came_from[to].is_none() && self.circle_of[to] == self.circle_of[unit] {
                    came_from[to] = Some(from);
                    queue.push(to);
                }
            }
        }
        let mut around = vec![unit];
        let mut here = came_from[unit];
        while let Some(before) = here {
            around.push(before);
            here = came_from[before].filter(|_| before != unit);
        }
        around.reverse();
        self.named(around)
    }

    /// In which order the units that are not green can be applied.
    #[must_use]
    pub fn waves(&self) -> Waves<'a> {
        self.waves_of(|unit| self.status(unit).is_stale())
    }

    /// In which order these units can be applied: each in the first wave behind all of these that it depends on.
    ///
    /// For whoever knows more of units than these edges say: somebody who may see only a part of the graph.
    #[must_use]
    pub fn waves_of(&self, is_stale: impl Fn(&str) -> bool) -> Waves<'a> {
        let stale: Vec<bool> = self.units.iter().map(|unit| is_stale(unit)).collect();
        let mut waiting_for = vec![0_usize; self.units.len()];
        for edge in &self.edges {
            if stale[edge.from] && stale[edge.to] {
                waiting_for[edge.to] += 1;
            }
        }
        let mut left = stale.clone();
        let mut waves = Vec::new();
        let mut wave: Vec<usize> = (0..self.units.len())
            .filter(|&unit| stale[unit] && waiting_for[unit] == 0)
            .collect();
        while !wave.is_empty() {
            let mut next = Vec::new();
            for &unit in &wave {
                left[unit] = false;
                for &edge in self.outgoing.of(unit) {
                    let to = self.edges[edge].to;
                    if stale[to] {
                        waiting_for[to] -= 1;
                        if waiting_for[to] == 0 {
                            next.push(to);
                        }
                    }
                }
            }
            next.sort_unstable();
            waves.push(self.named(std::mem::replace(&mut wave, next)));
        }
        let circular = circles(&self.edges, &self.outgoing, &left);
        for &unit in circular.iter().flatten() {
            left[unit] = false;
        }
        Waves {
            waves,
            circular: circular.into_iter().map(|circle| self.named(circle)).collect(),
            behind: self.named((0..self.units.len()).filter(|&unit| left[unit])),
        }
    }

    /// Every unit that has to be looked at if what these edges carry changes: nearest first. A unit comes again where a
    /// way leads around to it.
    ///
    /// Ask with [`View::outgoing`] of a unit for all that it gives. What is the place of no edge is passed over.
    #[must_use]
    pub fn impact(&self, starts: impl IntoIterator<Item = usize>) -> Vec<Reached<'a>> {
        let mut reached: Vec<Reached<'a>> = Vec::new();
        let mut nth: Vec<Option<usize>> = vec![None; self.units.len()];
        let mut edges: Vec<usize> = starts
            .into_iter()
            .filter(|&edge| edge < self.edges.len())
            .collect();
        for distance in 1.. {
            edges.sort_unstable();
            edges.dedup();
            let mut newly = Vec::new();
            for edge in edges {
                let to = self.edges[edge].to;
                let nth = *nth[to].get_or_insert_with(|| {
                    newly.push(to);
                    reached.push(Reached {
                        unit: self.units[to],
                        distance,
                        through: Vec::new(),
                    });
                    reached.len() - 1
                });
                if reached[nth].distance == distance {
                    reached[nth].through.push(edge);
                }
            }
            if newly.is_empty() {
                break;
            }
            edges = newly
                .iter()
                .flat_map(|&unit| self.outgoing.of(unit))
                .copied()
                .collect();
        }
        reached.sort_by_key(|reached| (reached.distance, reached.unit));
        reached
    }

    fn place(&self, unit: &str) -> Option<usize> {
        self.units.binary_search(&unit).ok()
    }

    fn named(&self, units: impl IntoIterator<Item = usize>) -> Vec<&'a str> {
        units.into_iter().map(|unit| self.units[unit]).collect()
    }

    fn judge(&self) -> Vec<UnitStatus> {
        let mut statuses = vec![UnitStatus::Green; self.units.len()];
        for edge in self
            .edges
            .iter()
            .filter(|edge| edge.status == EdgeStatus::Pending)
        {
            statuses[edge.to] = UnitStatus::Red;
        }
        let red = (0..self.units.len())
            .filter(|&unit| statuses[unit] == UnitStatus::Red)
            .collect();
        let behind = self.reached(red, &self.outgoing, |edge| edge.to);
        for (status, behind) in statuses.iter_mut().zip(behind) {
            if behind && *status == UnitStatus::Green {
                *status = UnitStatus::Yellow;
            }
        }
        statuses
    }

    /// Which units are at the far end of a way, of at least one edge, from one of these.
    fn reached(&self, starts: Vec<usize>, edges: &Lists, far_end: fn(Link) -> usize) -> Vec<bool> {
        let mut reached = vec![false; self.units.len()];
        let mut to_do = starts;
        while let Some(unit) = to_do.pop() {
            for &edge in edges.of(unit) {
                let unit = far_end(self.edges[edge]);
                if !std::mem::replace(&mut reached[unit], true) {
                    to_do.push(unit);
                }
            }
        }
        reached
    }
}

/// An edge, its units by their places.
#[derive(Debug, Clone, Copy)]
struct Link {
    from: usize,
    to: usize,
    status: EdgeStatus,
}

/// For each unit a list of edges, all in one piece of memory.
#[derive(Debug, Clone)]
struct Lists {
    /// Where the list of a unit begins; that of the next begins where it ends.
    begins: Vec<usize>,
    edges: Vec<usize>,
}

impl Lists {
    /// Edges by the unit that each of them belongs to.
    fn new(units: usize, belongs_to: impl Iterator<Item = usize> + Clone) -> Self {
        let mut begins = vec![0; units + 1];
        for unit in belongs_to.clone() {
            begins[unit + 1] += 1;
        }
        for unit in 0..units {
            begins[unit + 1] += begins[unit];
        }
        let mut free = begins.clone();
        let mut edges = vec![0; begins[units]];
        for (edge, unit) in belongs_to.enumerate() {
            edges[free[unit]] = edge;
            free[unit] += 1;
        }
        Self { begins, edges }
    }

    fn of(&self, unit: usize) -> &[usize] {
        &self.edges[self.begins[unit]..self.begins[unit + 1]]
    }
}

/// Strongly connected components with an edge inside, among these units: by Tarjan, with a stack of our own.
fn circles(edges: &[Link], outgoing: &Lists, among: &[bool]) -> Vec<Vec<usize>> {
    /// Larger than every number, so that a unit whose component is known holds nobody back.
    const DONE: usize = usize::MAX;
    let mut number: Vec<Option<usize>> = vec![None; among.len()];
    // The least number that is reached from the unit, as far as it is known.
    let mut least = vec![DONE; among.len()];
    let mut open = Vec::new();
    let mut circles = Vec::new();
    let mut numbered = 0;
    for root in (0..among.len()).filter(|&unit| among[unit]) {
        if number[root].is_some() {
            continue;
        }
        // A unit, and how many of its edges were followed.
        let mut path = vec![(root, 0)];
        while let Some(&mut (unit, ref mut followed)) = path.last_mut() {
            if number[unit].is_none() {
                number[unit] = Some(numbered);
                least[unit] = numbered;
                numbered += 1;
                open.push(unit);
            }
            if let Some(&edge) = outgoing.of(unit).get(*followed) {
                *followed += 1;
                let to = edges[edge].to;
                if !among[to] {
                    continue;
                }
                match number[to] {
                    None => path.push((to, 0)),
                    Some(_) => least[unit] = least[unit].min(least[to]),
                }
                continue;
            }
            path.pop();
            if let Some(&(before, _)) = path.last() {
                least[before] = least[before].min(least[unit]);
            }
            if number[unit] == Some(least[unit]) {
                let begins = open
                    .iter()
                    .rposition(|&other| other == unit)
                    .expect("a unit stays open until its component is complete");
                let mut component = open.split_off(begins);
                for &done in &component {
                    least[done] = DONE;
                }
                let depends_on_itself = || outgoing.of(unit).iter().any(|&edge| edges[edge].to == unit);
                if component.len() > 1 || depends_on_itself() {
                    component.sort_unstable();
                    circles.push(component);
                }
            }
        }
    }
    circles.sort_unstable();
    circles
}

/// To which group each unit belongs.
fn groups_of(groups: &[Vec<usize>], units: usize) -> Vec<Option<usize>> {
    let mut group_of = vec![None; units];
    for (group, members) in groups.iter().enumerate() {
        for &unit in members {
            group_of[unit] = Some(group);
        }
    }
    group_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::EdgeStatus::{Ok, Pending, Unknown};
    use crate::graph::UnitStatus::{Green, Red, Yellow};

    const UNITS: [&str; 3] = ["a", "b", "c"];
    type Edge = (&'static str, &'static str, EdgeStatus);

    /// Every world of three units in which each pair, and each unit with itself, has no edge or one of each status.
    fn worlds() -> impl Iterator<Item = Vec<Edge>> {
        let pairs: Vec<_> = UNITS
            .iter()
            .flat_map(|from| UNITS.iter().map(move |to| (*from, *to)))
            .collect();
        (0..4_usize.pow(9)).map(move |mut world| {
            let mut edges = Vec::new();
            for &(from, to) in &pairs {
                match world % 4 {
                    0 => {}
                    nth => edges.push((from, to, [Ok, Pending, Unknown][nth - 1])),
                }
                world /= 4;
            }
            edges
        })
    }

    /// Whether there is a way of so many edges, by the definition: some first edge, and a way from where it leads.
    fn way(edges: &[Edge], from: &str, to: &str, length: usize) -> bool {
        match length {
            0 => from == to,
            _ => edges
                .iter()
                .any(|edge| edge.0 == from && way(edges, edge.1, to, length - 1)),
        }
    }

    /// The length of the shortest way of one edge or more. Among three units none is longer than three.
    fn distance(edges: &[Edge], from: &str, to: &str) -> Option<usize> {
        (1..=3).find(|&length| way(edges, from, to, length))
    }

    #[test]
    fn colours_counts_and_reasons_of_every_small_world_are_as_defined() {
        for edges in worlds() {
            let view = View::new(edges.iter().copied());
            let is_red = |unit: &str| edges.iter().any(|edge| edge.1 == unit && edge.2 == Pending);
            for unit in UNITS {
                let reds: Vec<_> = UNITS
                    .into_iter()
                    .filter(|red| *red != unit && is_red(red) && distance(&edges, red, unit).is_some())
                    .collect();
                let status = match (is_red(unit), reds.is_empty()) {
                    (true, _) => Red,
                    (false, false) => Yellow,
                    (false, true) => Green,
                };
                assert_eq!(view.status(unit), status, "{unit} in {edges:?}");
                assert_eq!(view.red_before(unit), reds, "{unit} in {edges:?}");
                let count = |status| {
                    edges
                        .iter()
                        .filter(|edge| edge.1 == unit && edge.2 == status)
                        .count()
                };
                let counts = Counts {
                    ok: count(Ok),
                    pending: count(Pending),
                    unknown: count(Unknown),
                };
                assert_eq!(view.counts(unit), counts, "{unit} in {edges:?}");
                assert_eq!(
                    view.contains(unit),
                    edges.iter().any(|edge| edge.0 == unit || edge.1 == unit)
                );
                for (place, edge) in edges.iter().enumerate() {
                    assert_eq!(view.outgoing(unit).contains(&place), edge.0 == unit);
                    assert_eq!(view.incoming(unit).contains(&place), edge.1 == unit);
                }
            }
        }
    }

    #[test]
    fn circles_of_every_small_world_are_as_defined() {
        // What is said of an edge does not matter here.
        for edges in worlds().filter(|edges| edges.iter().all(|edge| edge.2 == Ok)) {
            let view = View::new(edges.iter().copied());
            let mut circles: Vec<Vec<&str>> = Vec::new();
            for unit in UNITS {
                let circle: Vec<_> = UNITS
                    .into_iter()
                    .filter(|other| {
                        distance(&edges, unit, other).is_some() && distance(&edges, other, unit).is_some()
                    })
                    .collect();
                if !circle.is_empty() && !circles.contains(&circle) {
                    circles.push(circle);
                }
                let around = view.cycle_through(unit);
                match distance(&edges, unit, unit) {
                    None => assert!(around.is_empty(), "{unit} in {edges:?}: {around:?}"),
                    Some(length) => {
                        assert_eq!(around.len(), length + 1, "{unit} in {edges:?}");
                        assert_eq!((around[0], around[length]), (unit, unit), "{edges:?}");
                        assert!(around.windows(2).all(|step| way(&edges, step[0], step[1], 1)));
                    }
                }
            }
            assert_eq!(view.cycles(), circles, "{edges:?}");
        }
    }

    #[test]
    fn waves_of_every_small_world_are_as_defined() {
        for edges in worlds() {
            let view = View::new(edges.iter().copied());
            let stale: Vec<Edge> = edges
                .iter()
                .copied()
                .filter(|edge| view.status(edge.0).is_stale() && view.status(edge.1).is_stale())
                .collect();
            // A unit is in the wave that the longest way to it counts. Only a way through a circle has three edges.
            let ways_to = |unit: &str, length| UNITS.iter().any(|first| way(&stale, first, unit, length));
            let mut expected = Waves::default();
            for unit in UNITS.into_iter().filter(|unit| view.status(unit).is_stale()) {
                if distance(&stale, unit, unit).is_some() {
                    let circle: Vec<_> = UNITS
                        .into_iter()
                        .filter(|other| {
                            distance(&stale, unit, other).is_some() && distance(&stale, other, unit).is_some()
                        })
                        .collect();
                    if !expected.circular.contains(&circle) {
                        expected.circular.push(circle);
                    }
                } else if ways_to(unit, 3) {
                    expected.behind.push(unit);
                } else {
                    let wave = (0..3).rfind(|&length| ways_to(unit, length)).unwrap();
                    expected
                        .waves
                        .resize(expected.waves.len().max(wave + 1), Vec::new());
                    expected.waves[wave].push(unit);
                }
            }
            assert_eq!(view.waves(), expected, "{edges:?}");
        }
    }

    #[test]
    fn the_reach_of_every_unit_and_edge_of_a_small_world_is_as_defined() {
        for edges in worlds().filter(|edges| edges.iter().all(|edge| edge.2 == Ok)) {
            let view = View::new(edges.iter().copied());
            let each_edge = (0..edges.len()).map(|edge| vec![edge]);
            let each_unit = UNITS.iter().map(|unit| view.outgoing(unit).to_vec());
            for starts in each_edge.chain(each_unit) {
                // The first edge is one of the starts; from where it leads, any way is open.
                let reach = |unit: &str, length: usize| {
                    starts
                        .iter()
                        .any(|&start| way(&edges, edges[start].1, unit, length - 1))
                };
                let nearest = |unit: &str| (1..=4).find(|&length| reach(unit, length));
                let mut expected: Vec<_> = UNITS
                    .into_iter()
                    .filter_map(|unit| {
                        let distance = nearest(unit)?;
                        let through = (0..edges.len())
                            .filter(|&edge| edges[edge].1 == unit)
                            .filter(|edge| match distance {
                                1 => starts.contains(edge),
                                _ => nearest(edges[*edge].0) == Some(distance - 1),
                            })
                            .collect();
                        Some(Reached {
                            unit,
                            distance,
                            through,
                        })
                    })
                    .collect();
                expected.sort_by_key(|reached| reached.distance);
                assert_eq!(view.impact(starts.clone()), expected, "{starts:?} of {edges:?}");
            }
        }
    }

    #[test]
    fn parallel_edges_are_counted_each_and_make_one_wave() {
        let view = View::new([
            ("a", "b", Ok),
            ("a", "b", Pending),
            ("a", "b", Unknown),
            ("b", "c", Ok),
        ]);
        let counts = Counts {
            ok: 1,
            pending: 1,
            unknown: 1,
        };
        assert_eq!(view.counts("b"), counts);
        assert_eq!(view.waves().waves, [["b"], ["c"]]);
        assert_eq!(view.impact([0, 2, 2, 99])[0].through, [0, 2]);
    }

    #[test]
    fn what_waits_for_a_circle_is_told_from_what_is_in_it() {
        let view = View::new([
            ("first", "a", Pending),
            ("a", "b", Ok),
            ("b", "a", Ok),
            ("b", "last", Ok),
            ("last", "self", Ok),
            ("self", "self", Ok),
            ("before", "first", Pending),
        ]);
        let waves = view.waves();
        assert_eq!(waves.waves, [["first"]]);
        assert_eq!(waves.circular, [vec!["a", "b"], vec!["self"]]);
        assert_eq!(waves.behind, ["last"]);
    }

    #[test]
    fn who_knows_more_than_the_edges_say_can_order_by_it() {
        let view = View::new([("a", "b", Ok), ("b", "c", Ok)]);
        assert_eq!(view.waves(), Waves::default());
        assert_eq!(view.waves_of(|unit| unit != "a").waves, [["b"], ["c"]]);
    }

    #[test]
    fn a_unit_that_no_edge_names_is_green_and_alone() {
        let view = View::new([]);
        assert_eq!(view.status("a"), Green);
        assert_eq!(view.counts("a"), Counts::default());
        assert!(view.units().is_empty() && !view.contains("a"));
        assert!(view.red_before("a").is_empty() && view.cycle_through("a").is_empty());
        assert!(view.impact(view.outgoing("a").to_vec()).is_empty());
    }

    #[test]
    fn neither_a_long_chain_nor_a_long_circle_overflows_the_stack() {
        const LENGTH: usize = 100_000;
        let names: Vec<String> = (0..LENGTH).map(|nth| format!("u{nth:06}")).collect();
        let chain = |last| {
            (0..last).map(|nth| {
                let status = if nth == 0 { Pending } else { Ok };
                (names[nth].as_str(), names[(nth + 1) % LENGTH].as_str(), status)
            })
        };
        let first = names[0].as_str();
        let last = names[LENGTH - 1].as_str();
        let view = View::new(chain(LENGTH - 1));
        assert_eq!(view.status(last), Yellow);
        assert_eq!(view.red_before(last), [names[1].as_str()]);
        assert_eq!(view.waves().waves.len(), LENGTH - 1);
        assert_eq!(
            view.impact(view.outgoing(first).to_vec())
                .last()
                .unwrap()
                .distance,
            LENGTH - 1
        );
        assert!(view.cycles().is_empty());

        let view = View::new(chain(LENGTH));
        assert_eq!(
            view.cycles(),
            [names.iter().map(String::as_str).collect::<Vec<_>>()]
        );
        assert_eq!(view.cycle_through(last).len(), LENGTH + 1);
        assert!(view.waves().waves.is_empty());
        assert_eq!(view.impact([0]).len(), LENGTH);
    }

    #[test]
    fn units_come_in_the_byte_order_of_their_names_whatever_the_order_of_edges() {
        let mut edges = vec![("b", "É", Pending), ("B", "É", Ok), ("a/b", "a-b", Ok)];
        let units = ["B", "a-b", "a/b", "b", "É"];
        assert_eq!(View::new(edges.iter().copied()).units(), units);
        edges.reverse();
        assert_eq!(View::new(edges).units(), units);
    }
}
