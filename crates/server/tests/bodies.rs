//! Reading bodies, without a wire and with a clock that is ours.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{StreamExt as _, poll};
use http::HeaderMap;
use opentaco_server::bodies::{Arrived, Bodies, BodyError, BodyLimits};
use tokio::time::timeout;

const IDLE: Duration = Duration::from_secs(60);

fn limits() -> BodyLimits {
    BodyLimits {
        one_bytes_max: 4096,
        in_flight_bytes_max: 4096,
        idle: IDLE,
        admission: Duration::from_secs(600),
    }
}

/// A body of unknown length that consists of what is sent, and how many pieces of it were taken.
fn body() -> (mpsc::UnboundedSender<Bytes>, Body, Arc<AtomicUsize>) {
    let (send, pieces) = mpsc::unbounded();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let pieces = pieces.map(move |piece: Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(piece)
    });
    (send, Body::from_stream(pieces), taken)
}

/// The same of a length that it tells.
fn sized_body(bytes: u64) -> (mpsc::UnboundedSender<Bytes>, Body, Arc<AtomicUsize>) {
    let (send, body, taken) = body();
    (send, Body::new(Told { body, bytes }), taken)
}

struct Told {
    body: Body,
    bytes: u64,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes)
    }
}

async fn read(bodies: &Bodies, body: Body) -> Result<Arrived, BodyError> {
    bodies.read_state(&HeaderMap::new(), body).await
}

/// Lets time pass.
async fn pass(duration: Duration) {
    assert!(timeout(duration, std::future::pending::<()>()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_may_take_hours_while_it_makes_progress() {
    let bodies = Bodies::new(limits());
    let (send, body, _) = body();
    let sending = async move {
        for _ in 0..200 {
            pass(IDLE - Duration::from_secs(1)).await;
            send.unbounded_send(Bytes::from_static(b"x")).unwrap();
        }
    };
    let (arrived, ()) = tokio::join!(read(&bodies, body), sending);
    assert_eq!(arrived.unwrap().bytes, "x".repeat(200));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up() {
    let bodies = Bodies::new(limits());
    let (send, body, _) = body();
    send.unbounded_send(Bytes::from_static(b"x")).unwrap();
    assert!(matches!(read(&bodies, body).await, Err(BodyError::Stalled { after }) if after == IDLE));
}

#[tokio::test(start_paused = true)]
async fn a_body_for_which_there_is_no_room_is_not_read_until_there_is() {
    let bodies = Bodies::new(limits());
    let first = [
        read(&bodies, Body::from(vec![b'1'; 2048])).await.unwrap(),
        read(&bodies, Body::from(vec![b'1'; 1024])).await.unwrap(),
    ];
    let (send, second, taken) = sized_body(2048);
    send.unbounded_send(Bytes::from(vec![b'2'; 2048])).unwrap();
    drop(send);
    let mut second = pin!(read(&bodies, second));
    assert!(poll!(&mut second).is_pending());
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    let small = read(&bodies, Body::from("3"));
    let mut small = pin!(small);
    assert!(
        poll!(&mut small).is_pending(),
        "whoever came first is first, or a large body would wait for ever"
    );
    drop(first);
    assert_eq!(second.await.unwrap().bytes, "2".repeat(2048));
    assert_eq!(small.await.unwrap().bytes, "3");
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_fit_together_are_read_together() {
    let bodies = Bodies::new(limits());
    let held: Vec<_> = [1024, 1024, 2048]
        .map(|bytes| read(&bodies, Body::from(vec![b'x'; bytes])))
        .into();
    assert_eq!(futures::future::try_join_all(held).await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_are_taken_one_after_another_and_keep_no_other_waiting() {
    let bodies = Bodies::new(BodyLimits {
        one_bytes_max: 1 << 20,
        ..limits()
    });
    let large = read(&bodies, Body::from(vec![b'x'; 1 << 20])).await.unwrap();
    assert_eq!(bodies.in_flight().bytes, 1 << 20);
    let mut other = pin!(read(&bodies, Body::from(vec![b'y'; 3072])));
    assert!(poll!(&mut other).is_pending());
    assert_eq!(bodies.in_flight().waiting, 1);
    assert_eq!(read(&bodies, Body::from("z")).await.unwrap().bytes, "z");
    drop(large);
    assert_eq!(other.await.unwrap().bytes, "y".repeat(3072));
    assert_eq!(bodies.in_flight().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_of_unknown_length_keeps_no_other_waiting_however_long_it_gets() {
    let bodies = Bodies::new(BodyLimits {
        one_bytes_max: 16 << 20,
        in_flight_bytes_max: 4 << 20,
        ..limits()
    });
    let (send, slow, _) = body();
    let mut slow = pin!(read(&bodies, slow));
    for sent in 1..=8 {
        send.unbounded_send(Bytes::from(vec![b's'; 1 << 20])).unwrap();
        assert!(poll!(&mut slow).is_pending());
        let other = read(&bodies, Body::from(vec![b'o'; 2 << 20])).await;
        assert_eq!(other.unwrap().bytes.len(), 2 << 20, "beside {sent} MiB");
    }
    drop(send);
    assert_eq!(slow.await.unwrap().bytes.len(), 8 << 20);
}

#[tokio::test(start_paused = true)]
async fn of_two_long_bodies_of_unknown_length_the_second_waits_for_the_first() {
    let bodies = Bodies::new(BodyLimits {
        one_bytes_max: 16 << 20,
        in_flight_bytes_max: 4 << 20,
        ..limits()
    });
    let (first_send, first, _) = body();
    let (second_send, second, taken) = body();
    let (mut first, mut second) = (pin!(read(&bodies, first)), pin!(read(&bodies, second)));
    for _ in 0..3 {
        for send in [&first_send, &second_send] {
            send.unbounded_send(Bytes::from(vec![b'x'; 1 << 20])).unwrap();
        }
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
    }
    assert_eq!(
        taken.load(Ordering::SeqCst),
        2,
        "no more than it has room for, and the piece at hand"
    );
    drop((first_send, second_send));
    assert_eq!(first.await.unwrap().bytes.len(), 3 << 20);
    assert_eq!(second.await.unwrap().bytes.len(), 3 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_room_no_longer_than_it_may() {
    let bodies = Bodies::new(limits());
    let _first = read(&bodies, Body::from(vec![b'1'; 2048])).await.unwrap();
    let _second = read(&bodies, Body::from(vec![b'2'; 2048])).await.unwrap();
    assert!(matches!(
        read(&bodies, Body::from("3")).await,
        Err(BodyError::Crowded)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_refused_gives_its_room_back() {
    let bodies = Bodies::new(limits());
    let (send, endless, _) = body();
    send.unbounded_send(Bytes::from(vec![b'x'; 4097])).unwrap();
    assert!(matches!(
        read(&bodies, endless).await,
        Err(BodyError::TooLarge { limit: 4096 })
    ));
    let (_send, still, _) = body();
    assert!(matches!(
        read(&bodies, still).await,
        Err(BodyError::Stalled { .. })
    ));
    assert_eq!(
        read(&bodies, Body::from(vec![b'y'; 4096]))
            .await
            .unwrap()
            .bytes
            .len(),
        4096
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_to_be_carried_through_outlives_a_client_that_hangs_up() {
    use opentaco_control::{OpenOptions, StateControl, StoreConfig};
    use opentaco_server::App;
    use opentaco_server::doorkeeper::Doorkeeper;

    let control = StateControl::open(&StoreConfig::Memory, OpenOptions::default())
        .await
        .unwrap();
    let app = App::new(control, Doorkeeper::Nobody, Bodies::new(limits()));
    let (go_on, gone_on) = tokio::sync::oneshot::channel::<()>();
    let done = Arc::new(AtomicUsize::new(0));
    let operation = {
        let done = Arc::clone(&done);
        async move {
            gone_on.await.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    {
        let mut request = pin!(app.carry_through(|_| operation));
        assert!(poll!(&mut request).is_pending());
    }
    go_on.send(()).unwrap();
    app.settle_down().await;
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
