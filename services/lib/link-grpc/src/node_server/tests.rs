//! Batches at a node: answers with refusals, invalid batches, and the memory of bodies.

use super::*;
use crate::testing::{ModelNode, Told, message, session, user_agent};

fn service() -> (Service, Arc<ModelNode>, tokio::sync::mpsc::Receiver<Told>) {
    let (node, told) = ModelNode::new(5);
    let (streams, shutdown) = (node.streams.clone(), Shutdown::new());
    (Service { node: node.clone(), sessions: node.clone(), streams, shutdown }, node, told)
}

fn delivery(to: u64, label: u32) -> wire::Delivery {
    let message = Some(stored::to_wire(&message(user_agent(1), label, 10)));
    wire::Delivery { session: to, message }
}

fn batch(deliveries: Vec<wire::Delivery>) -> wire::Batch {
    wire::Batch { number: 7, deliveries, evictions: Vec::new() }
}

#[tokio::test]
async fn a_batch_is_answered_with_what_was_refused_once_for_each_session() {
    let (service, node, mut told) = service();
    node.refuses.lock().insert(SessionId(2), NotDelivered::Busy);
    let answer = service.take(batch(vec![delivery(1, 1), delivery(2, 2), delivery(2, 3), delivery(1, 4)]));
    let answer = answer.unwrap();
    assert_eq!((answer.taken, answer.refused.len(), answer.refused[0].session), (7, 1, 2));
    let first = told.try_recv().unwrap();
    assert_eq!(first, Told::Message(session(5, 1), message(user_agent(1), 1, 10)));
    assert_eq!(told.try_recv().unwrap(), Told::Evict(session(5, 2), Eviction::Resync));
}

#[tokio::test]
async fn a_batch_that_is_not_valid_ends_the_stream() {
    let (service, ..) = service();
    let mut spoiled = delivery(1, 1);
    spoiled.message.as_mut().unwrap().head.as_mut().unwrap().id = Bytes::new();
    let eviction = wire::Eviction { session: 1, why: 9 };
    let bad = [
        batch(vec![wire::Delivery { session: 1, message: None }]),
        batch(vec![spoiled]),
        wire::Batch { evictions: vec![eviction], ..batch(Vec::new()) },
    ];
    for batch in bad {
        let status = service.take(batch).err().unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
    for of in [0, 65_536] {
        let wanted = wire::Announce { partitions: vec![0], of };
        assert_eq!(service.held(&wanted).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

#[test]
fn a_small_body_does_not_keep_its_frame_in_memory_and_a_big_one_is_not_copied() {
    let frame = Bytes::from(vec![1; 100_000]);
    let detached = |octets: usize, total: usize| {
        let mut message = (*message(user_agent(1), 1, 0)).clone();
        message.content.body = frame.slice(..octets);
        detach(&mut message, total);
        assert_eq!(message.content.body, frame.slice(..octets));
        message.content.body.as_ptr() != frame.as_ptr()
    };
    assert!(detached(100, 100));
    assert!(detached(20_000, 100_000));
    assert!(!detached(60_000, 100_000));
}
