//! Dependencies between units: what the graph says of them, to whoever may see them.
//!
//! The graph is true at every moment, because it follows each write before that is answered (`keeper`). So whoever asks
//! for a status is answered from one read of the graph. Whoever may read a unit sees its status, and with it the names of
//! the units and outputs that it depends on; which version changed an output, and who wrote that, is for those who may read the source as
//! well.

mod keeper;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use opentaco_domain::audit::Event;
use opentaco_domain::graph::view::Counts;
use opentaco_domain::graph::{
    Document, EdgeEnds, EdgeId, EdgeState, EdgeStatus, Source, UnitStatus, Unknown, View,
};
use opentaco_domain::{Action, Caller, Sha256, UnitId, UnitPrefix, VersionId};
use opentaco_storage::StorageError;
use opentaco_storage::commit::{CommitRequest, Committing};
use opentaco_storage::lifecycle::Described;
use opentaco_storage::planted::{Bug, planted};

pub use self::keeper::GraphCounts;
pub(crate) use self::keeper::{Hearing, Keeper};
use crate::units::no_unit;
use crate::{ControlError, ListUnits, StateControl};

/// How often a write of the graph is merged anew because somebody was faster.
const MERGES_MAX: usize = 64;
/// How many red units a yellow one names in a list, and how long the way around is that a unit of a circle tells there.
const NAMED_IN_LISTS: usize = 16;
/// In how many of the graph's versions an edge is looked for that is not in the newest.
const VERSIONS_SEARCHED: usize = 32;

/// An edge, as far as the caller may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeView {
    /// Its ends.
    pub ends: EdgeEnds,
    /// What it is known by.
    pub id: EdgeId,
    /// What is said of it.
    pub status: EdgeStatus,
    /// Why nothing is known of the output, if nothing is.
    pub unknown: Option<Unknown>,
    /// What is known of it. To whoever may not read the source, neither its version and writer nor any digest of its
    /// value is shown, which could be guessed from it; to whoever may not read the target, not its version.
    pub state: EdgeState,
    /// Why it is what it is, in a sentence.
    pub why: String,
    /// Whether it stands in the graph.
    pub declared: bool,
}

/// What the dependencies of a unit say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatusView {
    /// Which unit.
    pub unit: String,
    /// The colour.
    pub status: UnitStatus,
    /// Incoming edges: all, or in a list of units those that are not taken.
    pub incoming: Vec<EdgeView>,
    /// How many incoming edges are what.
    pub counts: Counts,
    /// Of a yellow unit: the red units before it that the caller may see.
    pub because_of: Vec<String>,
    /// One way from the unit back to itself, if there is one that the caller may see.
    pub cycle: Vec<String>,
}

/// The graph, as far as the caller may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphView {
    /// Its version; none while there is no graph.
    pub version: Option<VersionId>,
    /// Units at an end of an edge.
    pub units: Vec<(String, UnitStatus, Counts)>,
    /// Edges, by their ends.
    pub edges: Vec<EdgeView>,
    /// Groups of units that depend on each other in a circle.
    pub cycles: Vec<Vec<String>>,
}

/// What a reconciliation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// How many edges there are.
    pub edges: usize,
    /// Those that were not as they should be, as they are now.
    pub changed: Vec<EdgeView>,
    /// The version of the graph since; none if there is no graph.
    pub version: Option<VersionId>,
}

/// Who may see what, asked once for each unit.
struct Sight<'a> {
    control: &'a StateControl,
    caller: &'a Caller,
    units: BTreeMap<String, bool>,
}

impl Sight<'_> {
    fn may_read(&mut self, unit: &str) -> Result<bool, ControlError> {
        if let Some(may) = self.units.get(unit) {
            return Ok(*may);
        }
        // What can be no unit is nobody's: it stands in the graph alone.
        let may = match UnitId::parse(unit) {
            Ok(unit) => self.control.may(self.caller, Action::Read, &unit)?,
            Err(_) => self
                .control
                .may(self.caller, Action::Read, self.control.graph_unit())?,
        };
        self.units.insert(unit.to_owned(), may);
        Ok(may)
    }

    fn edge(&mut self, ends: &EdgeEnds, state: &EdgeState, declared: bool) -> Result<EdgeView, ControlError> {
        let (status, unknown) = (state.status(), state.unknown());
        let mut state = state.clone();
        if !self.may_read(&ends.from_unit)? {
            state.in_version = None;
            state.in_by = None;
            state.in_digest = None;
            state.out_digest = None;
            state.last_in_at = None;
        }
        if !self.may_read(&ends.to_unit)? {
            state.out_version = None;
        }
        Ok(EdgeView {
            id: ends.id(),
            why: why(ends, status, unknown, &state),
            ends: ends.clone(),
            status,
            unknown,
            state,
            declared,
        })
    }

    fn of_these(&mut self, units: Vec<&str>) -> Result<Vec<String>, ControlError> {
        let mut seen = Vec::new();
        for unit in units {
            if self.may_read(unit)? {
                seen.push(unit.to_owned());
            }
        }
        Ok(seen)
    }
}

/// Why an edge is what it is.
fn why(ends: &EdgeEnds, status: EdgeStatus, unknown: Option<Unknown>, state: &EdgeState) -> String {
    let EdgeEnds {
        from_unit,
        from_output,
        to_unit,
        ..
    } = ends;
    let with_serial = |version: &Option<VersionId>| {
        version.map_or_else(String::new, |version| format!(" with serial {}", version.serial))
    };
    let when = |at: &Option<jiff::Timestamp>| {
        at.map_or_else(String::new, |at| {
            format!(" at {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))
        })
    };
    if let Some(unknown) = unknown {
        return unknown.sentence(ends);
    }
    let by = state
        .in_by
        .as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let changed = format!(
        "`{from_output}` of `{from_unit}` changed{}{by}{}",
        with_serial(&state.in_version),
        when(&state.last_in_at)
    );
    let taken = format!("{}{}", with_serial(&state.out_version), when(&state.last_out_at));
    match (status, state.last_out_at) {
        (EdgeStatus::Ok, _) => format!("{changed}; `{to_unit}` took that value{taken}"),
        (_, None) => format!("{changed}, and `{to_unit}` was not written since the dependency was declared"),
        (_, Some(_)) => format!("{changed}; `{to_unit}` last took a value{taken}"),
    }
}

impl StateControl {
    /// What the dependencies of a unit say of it.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such unit and no edge names it; [`ControlError::GraphUnreadable`].
    pub async fn unit_status(&self, caller: &Caller, unit: &UnitId) -> Result<UnitStatusView, ControlError> {
        self.permit(caller, Action::Read, unit)?;
        let graph = self.read_graph().await?.map(|(_, graph)| graph);
        let view = View::new(edges_of(graph.as_deref()));
        let name = unit.as_str();
        if !view.contains(name) {
            let described = self.vault().describe(unit).await;
            if matches!(described.map_err(ControlError::from_storage)?, Described::NoUnit) {
                return Err(no_unit(unit));
            }
        }
        let mut sight = self.sight(caller);
        status_of(&mut sight, graph.as_deref(), &view, name, true)
    }

    /// What the dependencies of many units say of them, of one moment, in the byte order of their names: of every unit at
    /// an end of an edge, and unless `dependent`, of every other unit.
    ///
    /// # Errors
    /// [`ControlError::GraphUnreadable`].
    pub async fn unit_statuses(
        &self,
        caller: &Caller,
        prefix: UnitPrefix,
        dependent: bool,
    ) -> Result<Vec<UnitStatusView>, ControlError> {
        // An empty list must not be the answer of a service that does not know who may see what.
        self.may(caller, Action::Read, self.graph_unit())?;
        let listed = async {
            match dependent {
                true => Ok(Vec::new()),
                false => {
                    let wanted = ListUnits {
                        prefix: prefix.clone(),
                        ..ListUnits::default()
                    };
                    self.list_units(caller, wanted).await.map(|page| page.units)
                }
            }
        };
        let (graph, listed) = futures::join!(self.read_graph(), listed);
        let graph = graph?.map(|(_, graph)| graph);
        let view = View::new(edges_of(graph.as_deref()));
        let mut sight = self.sight(caller);
        let mut units: BTreeSet<String> = listed?
            .into_iter()
            .map(|listed| listed.unit.as_str().to_owned())
            .collect();
        units.remove(self.graph_unit().as_str());
        for unit in view.units() {
            if unit.starts_with(prefix.as_str()) && sight.may_read(unit)? {
                units.insert((*unit).to_owned());
            }
        }
        units
            .iter()
            .map(|unit| status_of(&mut sight, graph.as_deref(), &view, unit, false))
            .collect()
    }

    /// The graph, as far as the caller may see it: edges of which they may read both ends, one of them beginning with
    /// `prefix`.
    ///
    /// # Errors
    /// [`ControlError::GraphUnreadable`].
    pub async fn graph(&self, caller: &Caller, prefix: &UnitPrefix) -> Result<GraphView, ControlError> {
        self.may(caller, Action::Read, self.graph_unit())?;
        let Some((version, graph)) = self.read_graph().await? else {
            return Ok(GraphView::default());
        };
        let view = View::new(edges_of(Some(&graph)));
        let mut sight = self.sight(caller);
        let mut edges = Vec::new();
        let mut units = BTreeSet::new();
        for edge in graph.edges() {
            let (from, to) = (&edge.ends.from_unit, &edge.ends.to_unit);
            let begins = from.starts_with(prefix.as_str()) || to.starts_with(prefix.as_str());
            if begins && sight.may_read(from)? && sight.may_read(to)? {
                units.extend([from, to]);
                edges.push(sight.edge(&edge.ends, &edge.state, true)?);
            }
        }
        edges.sort_by(|a, b| a.ends.cmp(&b.ends));
        let mut cycles = Vec::new();
        for cycle in view.cycles() {
            let whole = cycle.len();
            let seen = sight.of_these(cycle)?;
            if seen.len() == whole && seen.iter().any(|unit| units.contains(unit)) {
                cycles.push(seen);
            }
        }
        Ok(GraphView {
            version,
            units: units
                .into_iter()
                .map(|unit| (unit.clone(), view.status(unit), view.counts(unit)))
                .collect(),
            edges,
            cycles,
        })
    }

    /// An edge by its ends: as it stands in the graph, or as it would be if it were declared now.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] to whoever may not read the target; [`ControlError::Invalid`] for ends that can be no
    /// units; [`ControlError::GraphUnreadable`].
    pub async fn edge(&self, caller: &Caller, ends: &EdgeEnds) -> Result<EdgeView, ControlError> {
        let (from, to) = match (ends.from(), ends.to()) {
            (Some(from), Some(to)) => (from, to),
            (None, _) => return Err(no_end(&ends.from_unit)),
            (_, None) => return Err(no_end(&ends.to_unit)),
        };
        self.permit(caller, Action::Read, &to)?;
        // Whether an output changes, and when, is for those who may see that there is one.
        self.permit(caller, Action::Read, &from)?;
        let graph = self.read_graph().await?;
        let mut sight = self.sight(caller);
        if let Some((_, graph)) = &graph
            && let Some(declared) = graph.edge(&ends.id())
        {
            return sight.edge(&declared.ends, &declared.state, true);
        }
        let source = self.graph.source_to_be(&from).await;
        let source: Source = source.map_err(ControlError::from_storage)?;
        let state = source.seen_by(&ends.from_output, &EdgeState::default());
        sight.edge(ends, &state, false)
    }

    /// An edge by its id: as it stands in the graph, or if it stands in none but one of the graph's last versions, as it
    /// would be if it were declared again.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if it stands in none; [`ControlError::Forbidden`] to whoever may not read its ends;
    /// [`ControlError::GraphUnreadable`].
    pub async fn edge_by_id(&self, caller: &Caller, id: &EdgeId) -> Result<EdgeView, ControlError> {
        // Not to be told from an edge of units that the caller may not see.
        let not_found = || ControlError::NotFound {
            what: format!(
                "edge `{id}` in the graph or its last {VERSIONS_SEARCHED} versions; name it as `from.output->to.input`"
            ),
        };
        // Earlier versions of the graph are for those who may read it.
        let versions = match self.may(caller, Action::Read, self.graph_unit())? {
            true => VERSIONS_SEARCHED,
            false => 0,
        };
        let Some(ends) = self.ends_of(id, versions).await? else {
            return Err(not_found());
        };
        let mut sight = self.sight(caller);
        match sight.may_read(&ends.from_unit)? && sight.may_read(&ends.to_unit)? {
            true => self.edge(caller, &ends).await,
            false => Err(not_found()),
        }
    }

    async fn ends_of(&self, id: &EdgeId, versions: usize) -> Result<Option<EdgeEnds>, ControlError> {
        if let Some((_, graph)) = self.read_graph().await?
            && let Some(declared) = graph.edge(id)
        {
            return Ok(Some(declared.ends.clone()));
        }
        if versions == 0 {
            return Ok(None);
        }
        let unit = self.graph_unit();
        let known = self.vault().load(unit).await;
        let Some(known) = known.map_err(ControlError::from_storage)? else {
            return Ok(None);
        };
        let history = self.vault().history(unit, &known, None, versions).await;
        for committed in history.map_err(ControlError::from_storage)? {
            let whole = self.vault().version_bytes(unit, &committed.version).await;
            let whole = whole.map_err(ControlError::from_storage)?;
            let found = Document::read(whole.bytes.clone()).ok();
            if let Some(declared) = found.as_ref().and_then(|graph| graph.edge(id)) {
                return Ok(Some(declared.ends.clone()));
            }
        }
        Ok(None)
    }

    /// Compares every edge with the current state of its source, and mends what is not so. With `taken_by`, what the
    /// incoming edges of this unit have is said to be taken by it: somebody has looked, or applied it without a change
    /// that would have been written.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] to whoever may not write the graph's unit; [`ControlError::GraphUnreadable`];
    /// [`ControlError::NotFound`] if `taken_by` has no state.
    pub async fn reconcile_graph(
        &self,
        caller: &Caller,
        taken_by: Option<&UnitId>,
    ) -> Result<Reconciled, ControlError> {
        self.permit(caller, Action::Write, self.graph_unit())?;
        if let Some(unit) = taken_by {
            self.permit(caller, Action::Write, unit)?;
            let known = self
                .vault()
                .load(unit)
                .await
                .map_err(ControlError::from_storage)?;
            if known.is_none_or(|known| known.head.current.is_none()) {
                return Err(ControlError::NoState { unit: unit.clone() });
            }
        }
        if self.read_graph().await?.is_none() {
            return Ok(Reconciled::default());
        }
        let reconciled = self.graph.reconcile(taken_by).await;
        let Some(reconciled) = reconciled.map_err(ControlError::from_storage)? else {
            // It is gone or unreadable since it was read.
            self.read_graph().await?;
            return Ok(Reconciled::default());
        };
        let event = Event::done(caller, Action::Write, "reconciled").on(self.graph_unit());
        self.changed(event.version(reconciled.version)).await?;
        let mut sight = self.sight(caller);
        let edges = reconciled.graph.edges();
        let mut changed = Vec::new();
        for edge in reconciled.changed.iter().map(|at| &edges[*at]) {
            if sight.may_read(&edge.ends.from_unit)? && sight.may_read(&edge.ends.to_unit)? {
                changed.push(sight.edge(&edge.ends, &edge.state, true)?);
            }
        }
        Ok(Reconciled {
            edges: edges.len(),
            changed,
            version: Some(reconciled.version),
        })
    }

    /// Commits a graph that somebody sends, merged with the one that is current, and looks at the sources of what is new
    /// in it.
    pub(crate) async fn commit_graph(
        &self,
        unit: &UnitId,
        request: &mut CommitRequest,
    ) -> Result<Committing, ControlError> {
        for _ in 0..MERGES_MAX {
            let made = self.graph.made_of(&request.bytes).await;
            request.made = made.map_err(ControlError::from_storage)?;
            let committing = self.vault().commit(unit, request).await;
            match committing.map_err(ControlError::from_storage)? {
                Committing::Overtaken => {}
                committing @ (Committing::Done(_) | Committing::Uncopied(..)) => {
                    if let (Committing::Done(committed), Some(made)) = (&committing, &request.made)
                        && committed.sha256 == Sha256::of(&made.bytes)
                    {
                        let _read = self.graph.keep(committed.version, made.bytes.clone());
                    }
                    self.graph.look_at_new().await;
                    return Ok(committing);
                }
                committing => return Ok(committing),
            }
        }
        Err(ControlError::from_storage(StorageError::Busy {
            key: format!("{unit}, as a graph that is merged"),
            tries: MERGES_MAX,
        }))
    }

    /// The graph as it is now, what somebody wrote directly included.
    async fn read_graph(&self) -> Result<Option<(Option<VersionId>, Arc<Document>)>, ControlError> {
        let unit = self.graph_unit();
        let unreadable = |error: &dyn std::error::Error| ControlError::GraphUnreadable {
            unit: unit.clone(),
            why: error.to_string(),
        };
        let reading = self.vault().read(unit).await;
        let Some(reading) = reading.map_err(ControlError::from_storage)? else {
            return Ok(None);
        };
        let version = reading.committed.as_ref().map(|committed| committed.version);
        let remembered = version.and_then(|version| self.graph.remembered(&version));
        let read = match (remembered, version) {
            (Some(read), _) => read,
            (None, version) => {
                let mut bytes = Vec::with_capacity(usize::try_from(reading.size).unwrap_or_default());
                let mut body = reading.body;
                while let Some(piece) = body.try_next().await.map_err(ControlError::from_storage)? {
                    bytes.extend_from_slice(&piece);
                }
                match version {
                    Some(version) => self.graph.keep(version, bytes.into()),
                    None => Document::read(bytes.into()).map(Arc::new),
                }
            }
        };
        match read {
            Ok(graph) => Ok(Some((version, graph))),
            Err(_) if planted(Bug::UnreadableIsGreen) => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn sight<'a>(&'a self, caller: &'a Caller) -> Sight<'a> {
        Sight {
            control: self,
            caller,
            units: BTreeMap::new(),
        }
    }
}

fn no_end(unit: &str) -> ControlError {
    ControlError::Invalid {
        what: format!("`{unit}` cannot be the name of a unit, so nothing depends on it"),
    }
}

/// The edges of a graph as a view takes them, each once: an edge may be declared twice.
fn edges_of(graph: Option<&Document>) -> impl Iterator<Item = (&str, &str, EdgeStatus)> {
    graph.into_iter().flat_map(Document::edges).map(|edge| {
        let ends = &edge.ends;
        (
            ends.from_unit.as_str(),
            ends.to_unit.as_str(),
            edge.state.status(),
        )
    })
}

fn status_of(
    sight: &mut Sight<'_>,
    graph: Option<&Document>,
    view: &View<'_>,
    unit: &str,
    whole: bool,
) -> Result<UnitStatusView, ControlError> {
    let mut incoming = BTreeMap::new();
    for edge in view
        .incoming(unit)
        .iter()
        .filter_map(|at| graph?.edges().get(*at))
    {
        if whole || edge.state.status() != EdgeStatus::Ok {
            let seen = sight.edge(&edge.ends, &edge.state, true)?;
            incoming.insert(edge.ends.clone(), seen);
        }
    }
    let status = view.status(unit);
    let mut red_before = match status {
        UnitStatus::Yellow => view.red_before(unit),
        UnitStatus::Green | UnitStatus::Red => Vec::new(),
    };
    // In a list, enough of them to go on with: each unit could have every other one before it.
    red_before.truncate(match whole {
        true => usize::MAX,
        false => NAMED_IN_LISTS,
    });
    let because_of = sight.of_these(red_before)?;
    // So with the way around: a long one is told of one unit alone.
    let mut cycle = view.cycle_through(unit);
    if !whole && cycle.len() > NAMED_IN_LISTS {
        cycle.clear();
    }
    let length = cycle.len();
    let seen = sight.of_these(cycle)?;
    Ok(UnitStatusView {
        unit: unit.to_owned(),
        status,
        incoming: incoming.into_values().collect(),
        counts: view.counts(unit),
        because_of,
        cycle: match seen.len() == length {
            true => seen,
            false => Vec::new(),
        },
    })
}
