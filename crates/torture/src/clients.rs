//! Who works on the units: clients that behave as Terraform's HTTP backend does, people who break locks, delete and bring
//! back, and whoever puts a state into the bucket by hand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use opentaco_domain::UnitId;
use opentaco_testkit::client::Client as Terraform;
use opentaco_testkit::issuer::TokenIssuer;
use opentaco_testkit::service::ROOT_TOKEN;
use opentaco_testkit::signer::{Sent, Signer};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::door::CLIENT;
use crate::hold;
use crate::http::{Answer, Sender};
use crate::wire::Wire;

/// How long a client waits for an answer: shorter than a replica stands still, so that it asks another one then.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often Terraform sends a request.
const ATTEMPTS: usize = 3;

/// What everybody shares.
#[derive(Clone)]
pub struct World {
    sender: Sender,
    door: u16,
    dice: Dice,
    is_over: Arc<AtomicBool>,
    /// Locks that were broken and then taken by whoever broke them.
    takeovers: Arc<AtomicU64>,
    applies: Arc<AtomicU64>,
    jobs: Arc<AtomicU64>,
    counter: Arc<AtomicU64>,
    /// What people put into the bucket: unit, bytes.
    by_hand: Arc<Mutex<Vec<(UnitId, Bytes)>>>,
}

/// The edges of the graph: outputs of the first go to the second.
pub const EDGES: &[(&str, &str)] = &[
    ("app-0", "app-1"),
    ("app-1", "app-2"),
    ("app-0", "app-3"),
    ("app-4", "app-5"),
];
/// How many clients of the S3 door there are.
pub const S3_CLIENTS: usize = 3;
/// Where the graph is.
pub const GRAPH: &str = "__opentaco_system";

impl World {
    /// Of clients that ask at this door, until `is_over`.
    #[must_use]
    pub fn new(door: u16, dice: Dice, is_over: Arc<AtomicBool>) -> Self {
        Self {
            sender: Sender::default(),
            door,
            dice,
            is_over,
            takeovers: Arc::default(),
            applies: Arc::default(),
            jobs: Arc::default(),
            counter: Arc::default(),
            by_hand: Arc::default(),
        }
    }

    /// How many locks were broken and taken.
    #[must_use]
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::SeqCst)
    }

    /// How many applies of the real client worked.
    #[must_use]
    pub fn applies(&self) -> u64 {
        self.applies.load(Ordering::SeqCst)
    }

    /// How often a CI job wrote.
    #[must_use]
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::SeqCst)
    }

    /// What people put into the bucket by hand.
    #[must_use]
    pub fn by_hand(&self) -> Vec<(UnitId, Bytes)> {
        hold(&self.by_hand).clone()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A state like no other.
    fn state(&self, unit: &str, serial: u64, by: &str) -> Bytes {
        let number = self.counter.fetch_add(1, Ordering::SeqCst);
        let filler = "x".repeat(usize::try_from(self.dice.below(1500)).unwrap_or(0));
        // Outputs change at times only, as they do.
        let output = serial / 7;
        let state = json!({
            "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": format!("torture-{unit}"),
            "outputs": {"out": {"value": output, "type": "number"}},
            "resources": [], "by": by, "number": number, "filler": filler,
        });
        Bytes::from(state.to_string())
    }

    /// One request, once.
    pub async fn once(&self, who: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Option<Answer> {
        self.once_as(who, ROOT_TOKEN, method, path, body).await
    }

    /// The same with another token.
    async fn once_as(
        &self,
        who: &str,
        token: &str,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).ok()?)
            .uri(format!("http://127.0.0.1:{}{path}", self.door))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header(CLIENT, who)
            .body(body.into())
            .ok()?;
        tokio::time::timeout(PATIENCE, self.sender.send(request))
            .await
            .ok()
            .flatten()
    }

    /// As Terraform does: again on no answer and on 5xx.
    pub async fn insist(&self, who: &str, method: &str, path: &str, body: Bytes) -> Option<Answer> {
        let mut answer = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer = self.once(who, method, path, body.clone()).await;
            if answer
                .as_ref()
                .is_some_and(|answer| !answer.status().is_server_error())
            {
                break;
            }
        }
        answer
    }

    /// Locks, reads, writes a few times, and gives back; and again. At times it dies in the middle, sleeps over its lock,
    /// or breaks the lock that stands in its way.
    pub async fn worker(self, who: String, units: Arc<Vec<String>>) {
        while !self.is_over() {
            let unit = self.dice.one(&units).clone();
            self.session(&who, &unit).await;
            tokio::time::sleep(self.dice.up_to(10)).await;
        }
    }

    async fn session(&self, who: &str, unit: &str) {
        let path = format!("/v1/backend/{unit}");
        let id = uuid::Uuid::new_v4().to_string();
        let lock = Bytes::from(
            json!({"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": who, "Version": "1.11.4", "Created": "2026-11-30T00:00:00Z", "Path": ""})
                .to_string(),
        );
        let mut answer = self.insist(who, "LOCK", &path, lock.clone()).await;
        let is_held = |answer: &Option<Answer>| {
            answer
                .as_ref()
                .is_some_and(|answer| answer.status() == StatusCode::LOCKED)
        };
        if is_held(&answer) {
            if !self.dice.chance(120) {
                return;
            }
            let broken = self.insist(who, "UNLOCK", &path, Bytes::new()).await;
            let broken = broken.is_some_and(|answer| answer.status().is_success());
            answer = self.insist(who, "LOCK", &path, lock.clone()).await;
            if broken && answer.as_ref().is_some_and(|answer| answer.status().is_success()) {
                self.takeovers.fetch_add(1, Ordering::SeqCst);
            }
        }
        if !answer.is_some_and(|answer| answer.status().is_success()) {
            return;
        }
        let Some(mut serial) = self.serial(who, &path).await else {
            return;
        };
        for _ in 0..2 + self.dice.below(10) {
            serial += 1;
            let state = self.state(unit, serial, who);
            let write = format!("{path}?ID={id}");
            let written = self.insist(who, "POST", &write, state).await;
            match written.map(|answer| answer.status()) {
                Some(status) if status.is_success() => {}
                // Who was told that it is not the holder any more goes on at times all the same.
                Some(StatusCode::CONFLICT) if self.dice.chance(300) => {}
                _ => return,
            }
            if self.dice.chance(15) {
                // It sleeps over its lock; meanwhile somebody may break it.
                tokio::time::sleep(self.dice.up_to(6000)).await;
            }
        }
        if self.dice.chance(40) {
            return;
        }
        self.insist(who, "UNLOCK", &path, lock).await;
    }

    /// The serial of the current state, 0 without one. None: nobody could tell.
    async fn serial(&self, who: &str, path: &str) -> Option<u64> {
        let answer = self.insist(who, "GET", path, Bytes::new()).await?;
        match answer.status() {
            StatusCode::OK => {
                let state: Value = serde_json::from_slice(answer.body()).ok()?;
                state["serial"].as_u64()
            }
            StatusCode::NOT_FOUND => Some(0),
            _ => None,
        }
    }

    /// Writes without a lock, as `-lock=false` does.
    pub async fn without_locks(self, who: String, units: Arc<Vec<String>>) {
        while !self.is_over() {
            let unit = self.dice.one(&units).clone();
            let path = format!("/v1/backend/{unit}");
            if let Some(serial) = self.serial(&who, &path).await {
                let state = self.state(&unit, serial + 1, &who);
                self.insist(&who, "POST", &path, state).await;
            }
            tokio::time::sleep(self.dice.up_to(2000)).await;
        }
    }

    /// Creates, deletes, brings back, restores and promotes, through the management API.
    pub async fn manager(self, who: String, units: Arc<Vec<String>>) {
        while !self.is_over() {
            let unit = self.dice.one(&units).clone();
            let address = format!("/v1/units/{unit}");
            match self.dice.below(10) {
                0 | 1 => {
                    self.once(&who, "POST", "/v1/units", json!({"id": unit}).to_string())
                        .await;
                }
                2 => {
                    self.once(&who, "DELETE", &address, Bytes::new()).await;
                }
                3 | 4 => {
                    self.once(&who, "POST", &format!("{address}/undelete"), Bytes::new())
                        .await;
                }
                5 | 6 => {
                    let listed = self
                        .listed(&who, &format!("{address}/versions"), "versions", "version")
                        .await;
                    if !listed.is_empty() {
                        let version = self.dice.one(&listed).clone();
                        let body = json!({"version": version}).to_string();
                        self.once(&who, "POST", &format!("{address}/restore"), body).await;
                    }
                }
                7 => {
                    let kept = self
                        .listed(&who, &format!("{address}/rejected"), "rejected", "id")
                        .await;
                    if !kept.is_empty() {
                        let kept = self.dice.one(&kept).clone();
                        self.once(
                            &who,
                            "POST",
                            &format!("{address}/rejected/{kept}/promote"),
                            Bytes::new(),
                        )
                        .await;
                    }
                }
                _ => self.session(&who, &unit).await,
            }
            tokio::time::sleep(self.dice.up_to(400)).await;
        }
    }

    async fn listed(&self, who: &str, path: &str, list: &str, member: &str) -> Vec<String> {
        let Some(answer) = self.once(who, "GET", path, Bytes::new()).await else {
            return Vec::new();
        };
        let told: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        let entries = told[list].as_array().into_iter().flatten();
        entries
            .filter_map(|entry| entry[member].as_str().map(str::to_owned))
            .collect()
    }

    /// Only looks, at states and at lists.
    pub async fn reader(self, who: String, units: Arc<Vec<String>>) {
        while !self.is_over() {
            let unit = self.dice.one(&units).clone();
            match self.dice.below(4) {
                0 => self.once(&who, "GET", "/v1/units", Bytes::new()).await,
                1 => self.once(&who, "GET", "/v1/status", Bytes::new()).await,
                _ => {
                    self.once(&who, "GET", &format!("/v1/backend/{unit}"), Bytes::new())
                        .await
                }
            };
            tokio::time::sleep(self.dice.up_to(200)).await;
        }
    }

    /// Puts states into the bucket past the service.
    pub async fn person(self, wire: Wire, units: Arc<Vec<String>>) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.up_to(3000)).await;
            let unit = self.dice.one(&units).clone();
            let Some(serial) = self.serial("person", &format!("/v1/backend/{unit}")).await else {
                continue;
            };
            let bytes = self.state(&unit, serial + 1, "person");
            let Ok(id) = UnitId::parse(&unit) else { continue };
            hold(&self.by_hand).push((id.clone(), bytes.clone()));
            wire.person_puts(&id.state_key(), bytes).await;
        }
    }

    /// Terraform on the workspace of the graph: takes the lock, reads, and writes what it has with edges more or less.
    pub async fn grapher(self, who: String) {
        let path = format!("/v1/backend/{GRAPH}");
        while !self.is_over() {
            tokio::time::sleep(self.dice.up_to(2500)).await;
            let id = uuid::Uuid::new_v4().to_string();
            let lock =
                Bytes::from(json!({"ID": id, "Operation": "OperationTypeApply", "Who": who}).to_string());
            let answer = self.insist(&who, "LOCK", &path, lock.clone()).await;
            match answer.map(|answer| answer.status()) {
                Some(status) if status.is_success() => {}
                Some(StatusCode::LOCKED) if self.dice.chance(300) => {
                    self.insist(&who, "UNLOCK", &path, Bytes::new()).await;
                    continue;
                }
                _ => continue,
            }
            let read = self.insist(&who, "GET", &path, Bytes::new()).await;
            let state = read.and_then(|answer| match answer.status() {
                StatusCode::OK => serde_json::from_slice::<Value>(answer.body()).ok(),
                StatusCode::NOT_FOUND => Some(json!({
                    "version": 4, "terraform_version": "1.11.4", "serial": 0, "lineage": "torture-graph", "outputs": {}, "resources": [],
                })),
                _ => None,
            });
            if let Some(mut state) = state {
                self.change_edges(&mut state);
                let body = Bytes::from(state.to_string());
                self.insist(&who, "POST", &format!("{path}?ID={id}"), body).await;
            }
            self.insist(&who, "UNLOCK", &path, lock).await;
        }
    }

    /// Each edge is there or not, as the dice say; what is there stays as it was read.
    fn change_edges(&self, state: &mut Value) {
        let serial = state["serial"].as_u64().unwrap_or(0) + 1;
        state["serial"] = json!(serial);
        let before = state["resources"].as_array().cloned().unwrap_or_default();
        let mut resources = Vec::new();
        for (index, (from, to)) in EDGES.iter().enumerate() {
            let name = format!("edge_{index}");
            let was = before.iter().find(|resource| resource["name"] == name.as_str());
            match was {
                Some(resource) if self.dice.chance(850) => resources.push(resource.clone()),
                None if self.dice.chance(700) => resources.push(json!({
                    "mode": "managed", "type": "opentaco_dependency", "name": name,
                    "provider": "provider[\"registry.terraform.io/digger/opentaco\"]",
                    "instances": [{"schema_version": 0, "attributes": {
                        "from_unit_id": from, "from_output": "out", "to_unit_id": to, "to_input": "in",
                    }}],
                })),
                _ => {}
            }
        }
        state["resources"] = Value::Array(resources);
    }

    /// Makes the accounts and roles that others work as.
    ///
    /// # Errors
    /// What the service would not do.
    pub async fn prepare(&self) -> Result<(), String> {
        let all = json!({"rules": [{"actions": ["unit.create", "unit.read", "unit.write", "unit.lock"], "units": ["**"]}]});
        let mut steps = vec![
            (
                "POST",
                "/v1/rbac/init".to_owned(),
                json!({"administrators": ["user:ada"]}),
            ),
            ("PUT", "/v1/rbac/permissions/worker".to_owned(), all),
            (
                "PUT",
                "/v1/rbac/roles/worker".to_owned(),
                json!({"permissions": ["worker"]}),
            ),
        ];
        for n in 0..S3_CLIENTS {
            steps.push((
                "POST",
                "/v1/auth/service-accounts".to_owned(),
                json!({"name": format!("s3-{n}")}),
            ));
            steps.push((
                "PUT",
                format!("/v1/rbac/users/service:s3-{n}/roles/worker"),
                Value::Null,
            ));
        }
        for (method, path, body) in steps {
            let body = match body {
                Value::Null => Bytes::new(),
                body => Bytes::from(body.to_string()),
            };
            let answer = self.insist("prepare", method, &path, body).await;
            let told = answer.ok_or_else(|| format!("{method} {path}: no answer"))?;
            if !told.status().is_success() {
                return Err(format!(
                    "{method} {path}: {}",
                    String::from_utf8_lossy(told.body())
                ));
            }
        }
        Ok(())
    }

    /// As Terraform's `s3` backend with a lock file: each session with credentials of its own, which soon expire. At
    /// times it dies over its lock; whoever comes then removes the file as a person would, by force.
    pub async fn s3(self, number: usize, units: Arc<Vec<String>>) {
        let who = format!("service:s3-{number}");
        let body = json!({"name": "torture", "service_account": format!("s3-{number}")}).to_string();
        let mut token = None;
        while !self.is_over() {
            if token.is_none() {
                let made = self
                    .insist(&who, "POST", "/v1/auth/tokens", Bytes::from(body.clone()))
                    .await;
                token = made.and_then(|answer| member(&answer, "token"));
                continue;
            }
            let unit = self.dice.one(&units).clone();
            self.s3_session(&who, token.as_deref().unwrap_or_default(), &unit)
                .await;
            tokio::time::sleep(self.dice.up_to(100)).await;
        }
    }

    async fn s3_session(&self, who: &str, token: &str, unit: &str) -> Option<()> {
        let made = self
            .once_as(who, token, "POST", "/v1/auth/issue-s3-creds", Bytes::new())
            .await?;
        let credentials = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| member(&made, name));
        let [Some(key), Some(secret), Some(session)] = credentials else {
            return None;
        };
        let state = format!("/s3/opentaco/{unit}/terraform.tfstate");
        let file = format!("{state}.tflock");
        let id = uuid::Uuid::new_v4().to_string();
        let lock = json!({"ID": id, "Operation": "OperationTypeApply", "Who": who}).to_string();
        let signer = || Signer::new(&key, &secret, Some(&session));
        let none = [("if-none-match", "*")];
        let taken = self
            .s3_insist(who, &signer, "PUT", &file, &none, Bytes::from(lock))
            .await?;
        if !taken.status().is_success() {
            if self.dice.chance(60) {
                let path = format!("/v1/backend/{unit}");
                self.insist("breaker", "UNLOCK", &path, Bytes::new()).await;
                self.takeovers.fetch_add(1, Ordering::SeqCst);
            }
            return None;
        }
        let read = self
            .s3_insist(who, &signer, "GET", &state, &[], Bytes::new())
            .await?;
        let mut serial = match read.status() {
            StatusCode::OK => serde_json::from_slice::<Value>(read.body()).ok()?["serial"].as_u64()?,
            StatusCode::NOT_FOUND => 0,
            _ => return None,
        };
        for _ in 0..1 + self.dice.below(4) {
            serial += 1;
            let body = self.state(unit, serial, who);
            let written = self.s3_insist(who, &signer, "PUT", &state, &[], body).await?;
            if !written.status().is_success() {
                return None;
            }
            if self.dice.chance(20) {
                tokio::time::sleep(self.dice.up_to(6000)).await;
            }
        }
        if self.dice.chance(40) {
            return None;
        }
        self.s3_insist(who, &signer, "DELETE", &file, &[], Bytes::new())
            .await?;
        Some(())
    }

    /// As an SDK does: up to three attempts, each signed anew, all called the same.
    async fn s3_insist(
        &self,
        who: &str,
        signer: &(dyn Fn() -> Signer + Sync),
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Option<Answer> {
        let invocation = uuid::Uuid::new_v4().to_string();
        let host = format!("127.0.0.1:{}", self.door);
        let mut answer = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let mut all = vec![("amz-sdk-invocation-id", invocation.as_str())];
            all.extend(headers);
            let url = format!("http://{host}{path}");
            let signed = signer().sign(method, &url, &all, Sent::Whole(&body));
            let mut request = Request::builder().method(method).uri(url).header(CLIENT, who);
            for (name, value) in &signed.headers {
                request = request.header(name, value);
            }
            let request = request.body(body.clone()).ok()?;
            answer = tokio::time::timeout(PATIENCE, self.sender.send(request))
                .await
                .ok()
                .flatten();
            if answer
                .as_ref()
                .is_some_and(|answer| !answer.status().is_server_error())
            {
                break;
            }
        }
        answer
    }

    /// A CI job: it logs in with a token of its platform, which is not always there, and writes under what it is given.
    pub async fn job(self, issuer: Arc<Mutex<Option<TokenIssuer>>>, unit: String) {
        let who = "ci:torture";
        let path = format!("/v1/backend/{unit}");
        while !self.is_over() {
            tokio::time::sleep(self.dice.up_to(1500)).await;
            let claims =
                json!({"aud": "https://taco.example.com", "sub": "torture", "repository": "acme/infra"});
            let token = hold(&issuer).as_ref().map(|issuer| issuer.token(&claims));
            let Some(token) = token else { continue };
            let read = self.once_as(who, &token, "GET", &path, Bytes::new()).await;
            let Some(read) = read else { continue };
            let serial = match read.status() {
                StatusCode::OK => serde_json::from_slice::<Value>(read.body())
                    .ok()
                    .and_then(|state| state["serial"].as_u64()),
                StatusCode::NOT_FOUND => Some(0),
                _ => None,
            };
            let Some(serial) = serial else { continue };
            let state = self.state(&unit, serial + 1, who);
            if let Some(answer) = self.once_as(who, &token, "POST", &path, state).await
                && answer.status().is_success()
            {
                self.jobs.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Gives a role and takes it, again and again.
    pub async fn administrator(self) {
        while !self.is_over() {
            tokio::time::sleep(self.dice.up_to(1000)).await;
            let method = *self.dice.one(&["PUT", "DELETE"]);
            self.once(
                "administrator",
                method,
                "/v1/rbac/users/user:guest/roles/worker",
                Bytes::new(),
            )
            .await;
        }
    }

    /// The real client, applying again and again; where a lock was left over, it is broken.
    pub fn terraform(&self, unit: &str) {
        let backend = format!("http://127.0.0.1:{}/v1/backend/{unit}", self.door);
        let resources = |n: u64| {
            format!(
                "resource \"terraform_data\" \"one\" {{\n  input = {n}\n}}\noutput \"out\" {{\n  value = terraform_data.one.output\n}}\n"
            )
        };
        let client = Terraform::new(&backend, &resources(0));
        let mut initialised = false;
        let mut n = 0;
        while !self.is_over() {
            n += 1;
            client.resources(&resources(n));
            if !initialised {
                initialised = client.run(&["init", "-input=false", "-no-color"]).ok;
                continue;
            }
            let ran = client.run(&["apply", "-auto-approve", "-input=false", "-no-color"]);
            if ran.ok {
                self.applies.fetch_add(1, Ordering::SeqCst);
            } else if ran.printed.contains("Error acquiring the state lock") {
                let id = ran
                    .printed
                    .split("ID:")
                    .nth(1)
                    .and_then(|rest| rest.split_whitespace().next());
                if let Some(id) = id {
                    let _ = client.run(&["force-unlock", "-force", id]);
                }
            }
            std::thread::sleep(Duration::from_secs(4) + self.dice.up_to(4000));
        }
    }
}

/// A text in an answer.
fn member(answer: &Answer, name: &str) -> Option<String> {
    let told: Value = serde_json::from_slice(answer.body()).ok()?;
    told[name].as_str().map(str::to_owned)
}
