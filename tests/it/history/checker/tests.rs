//! Each kind of fault, put into a good history, is found by the checker.

use proptest::prelude::*;

use super::*;

const LONG: u64 = 600;

/// History written by hand, a tenth of a second for each line.
#[derive(Debug, Default)]
struct Script(Vec<Entry>);

impl Script {
    fn event(mut self, event: Event) -> Self {
        let at = self.0.last().map(|entry| entry.at).unwrap_or_default() + Duration::from_millis(100);
        self.0.push(Entry { at, event });
        self
    }

    fn posted(self, message: Message, ttl: u64, topic: Option<u8>, answer: Answer) -> Self {
        self.event(Event::Posted { message, to: 0, ttl: Duration::from_secs(ttl), topic })
            .event(Event::Answered { message, answer })
    }

    fn accepted(self, message: Message) -> Self {
        self.posted(message, LONG, None, Answer::Accepted)
    }

    fn with_topic(self, message: Message, answer: Answer) -> Self {
        self.posted(message, LONG, Some(1), answer)
    }

    fn delivered(self, message: Message) -> Self {
        self.delivered_as(message, &format!("id {message}"))
    }

    fn delivered_as(self, message: Message, version: &str) -> Self {
        self.event(Event::Delivered { message, to: 0, version: version.to_owned() })
    }

    fn waits(mut self, time: Duration) -> Self {
        let at = self.0.last().map(|entry| entry.at).unwrap_or_default() + time;
        self.0.push(Entry { at, event: Event::Killed });
        self
    }

    fn breaks(&self) -> Vec<Violation> {
        check(&self.0, Rules::ONE_PROCESS)
    }

    fn breaks_in_a_grid(&self) -> Vec<Violation> {
        check(&self.0, Rules::GRID)
    }
}

/// History with every kind of event.
fn good() -> Script {
    Script::default()
        .accepted(0)
        .delivered(0)
        .event(Event::Acknowledged { message: 0 })
        .posted(1, LONG, None, Answer::Unknown)
        .posted(2, LONG, None, Answer::Unknown)
        .event(Event::Killed)
        .delivered(0)
        .delivered(2)
        .posted(3, LONG, None, Answer::Refused)
        .with_topic(4, Answer::Accepted)
        .delivered(4)
        .with_topic(5, Answer::Accepted)
        .with_topic(6, Answer::Accepted)
        .event(Event::Killed)
        .delivered(6)
        .event(Event::Connected { to: 0 })
        .delivered(4)
        .delivered(6)
        .posted(7, 0, None, Answer::Accepted)
        .posted(8, 1, None, Answer::Accepted)
        .accepted(9)
        .waits(Duration::from_secs(10))
        .event(Event::Drained)
        .delivered(6)
        .delivered(9)
}

#[test]
fn a_good_history_breaks_nothing() {
    assert_eq!(good().breaks(), []);
}

#[test]
fn a_loss_is_found() {
    assert_eq!(good().accepted(10).breaks(), [Violation::Lost(10)]);
}

#[test]
fn whatever_accepted_message_is_taken_out_of_the_deliveries_is_found() {
    for message in [0, 6, 9] {
        let mut script = good();
        script
            .0
            .retain(|entry| !matches!(entry.event, Event::Delivered { message: it, .. } if it == message));
        assert_eq!(script.breaks(), [Violation::Lost(message)]);
    }
}

#[test]
fn a_late_delivery_is_found() {
    assert_eq!(good().delivered(8).breaks(), [Violation::Late(8), Violation::OutOfOrder(8, 9)]);
    let late =
        Script::default().posted(0, 2, None, Answer::Accepted).waits(Duration::from_secs(4)).delivered(0);
    assert_eq!(late.breaks(), [Violation::Late(0)]);
    let zero =
        Script::default().posted(0, 0, None, Answer::Accepted).waits(Duration::from_secs(7)).delivered(0);
    assert_eq!(zero.breaks(), [Violation::Late(0)]);
    // Also for a message of unknown fate.
    let unknown =
        Script::default().posted(0, 2, None, Answer::Unknown).waits(Duration::from_secs(4)).delivered(0);
    assert_eq!(unknown.breaks(), [Violation::Late(0)]);
    let in_time = Script::default().posted(0, 2, None, Answer::Accepted).delivered(0);
    assert_eq!(in_time.breaks(), []);
}

#[test]
fn a_second_id_for_one_message_is_found() {
    assert_eq!(good().delivered_as(9, "another id").breaks(), [Violation::SecondId(9)]);
}

#[test]
fn one_id_for_two_messages_is_found() {
    assert_eq!(good().accepted(10).delivered_as(10, "id 9").breaks(), [Violation::SharedId(9, 10)]);
}

#[test]
fn an_older_message_of_a_topic_after_a_newer_one_is_found() {
    let script = || Script::default().with_topic(0, Answer::Accepted);
    let never_seen = script().with_topic(1, Answer::Accepted).delivered(1).event(Event::Killed).delivered(0);
    assert_eq!(never_seen.breaks(), [Violation::OutOfOrder(0, 1), Violation::OlderOfTopic(0, 1)]);
    let both = || script().delivered(0).with_topic(1, Answer::Accepted).delivered(1);
    assert_eq!(both().delivered(0).breaks(), [Violation::OlderOfTopic(0, 1)]);
    // A new connection alone brings nothing back, nor does a kill on the old one.
    let connected = Event::Connected { to: 0 };
    let again = both().event(Event::Killed).event(connected.clone()).delivered(0).delivered(1);
    assert_eq!(again.breaks(), []);
    assert_eq!(both().event(Event::Killed).delivered(0).breaks(), [Violation::OlderOfTopic(0, 1)]);
    let later = again.event(connected).delivered(0);
    assert_eq!(later.breaks(), [Violation::OlderOfTopic(0, 1)]);
}

#[test]
fn an_older_message_of_a_topic_that_waits_to_the_end_is_found() {
    let script = Script::default()
        .with_topic(0, Answer::Accepted)
        .delivered(0)
        .with_topic(1, Answer::Accepted)
        .event(Event::Drained)
        .delivered(0)
        .delivered(1);
    assert_eq!(script.breaks(), [Violation::NotReplaced(0, 1)]);
}

#[test]
fn a_message_that_was_replaced_by_nothing_that_came_is_lost() {
    let both_gone = Script::default().with_topic(0, Answer::Accepted).with_topic(1, Answer::Accepted);
    assert_eq!(both_gone.breaks(), [Violation::Lost(1)]);
    let kept_or_not = Script::default().with_topic(0, Answer::Accepted).with_topic(1, Answer::Unknown);
    assert_eq!(kept_or_not.breaks(), [Violation::Lost(0)]);
    let kept = Script::default().with_topic(0, Answer::Accepted).with_topic(1, Answer::Unknown).delivered(1);
    assert_eq!(kept.breaks(), []);
    let refused = Script::default().with_topic(0, Answer::Accepted).with_topic(1, Answer::Refused);
    assert_eq!(refused.breaks(), [Violation::Lost(0)]);
    let expired = Script::default()
        .with_topic(0, Answer::Accepted)
        .posted(1, 1, Some(1), Answer::Unknown)
        .waits(Duration::from_secs(2));
    assert_eq!(expired.breaks(), []);
    // Another subscription is another topic.
    let elsewhere = Script::default()
        .with_topic(0, Answer::Accepted)
        .event(Event::Posted { message: 1, to: 1, ttl: Duration::from_secs(LONG), topic: Some(1) })
        .event(Event::Answered { message: 1, answer: Answer::Accepted })
        .event(Event::Delivered { message: 1, to: 1, version: "id".to_owned() });
    assert_eq!(elsewhere.breaks(), [Violation::Lost(0)]);
}

#[test]
fn what_was_refused_or_never_posted_or_posted_elsewhere_is_found() {
    assert_eq!(good().delivered(3).breaks(), [Violation::NotPosted(3)]);
    assert_eq!(good().delivered(99).breaks(), [Violation::NotPosted(99)]);
    let elsewhere = Event::Delivered { message: 9, to: 1, version: "id 9".to_owned() };
    assert_eq!(good().event(elsewhere).breaks(), [Violation::NotPosted(9)]);
    let before_the_answer = Script::default()
        .event(Event::Posted { message: 0, to: 0, ttl: Duration::from_secs(LONG), topic: None })
        .delivered(0)
        .event(Event::Answered { message: 0, answer: Answer::Refused });
    assert_eq!(before_the_answer.breaks(), [Violation::NotPosted(0)]);
}

#[test]
fn an_order_that_is_not_that_of_acceptance_is_found() {
    let script = Script::default().accepted(0).accepted(1).delivered(1).delivered(0);
    assert_eq!(script.breaks(), [Violation::OutOfOrder(0, 1)]);
    // With TTL 0 it may overtake.
    let script = Script::default().accepted(0).posted(1, 0, None, Answer::Accepted).delivered(1).delivered(0);
    assert_eq!(script.breaks(), []);
}

#[test]
fn a_subscription_that_ends_takes_its_messages_with_it_and_no_other() {
    let ending = Event::Ending { to: 0 };
    let script = || Script::default().accepted(0).event(ending.clone());
    assert_eq!(script().breaks(), []);
    let ended = || script().event(Event::Ended { to: 0 }).posted(1, LONG, None, Answer::Gone);
    assert_eq!(ended().breaks(), []);
    assert_eq!(ended().delivered(0).breaks(), [Violation::AfterEnd(0)]);
    // Until the service confirms the end, a delivery is allowed.
    assert_eq!(script().delivered(0).breaks(), []);
    let elsewhere = Script::default().accepted(0).event(Event::Ending { to: 1 });
    assert_eq!(elsewhere.breaks(), [Violation::Lost(0)]);
}

#[test]
fn a_subscription_that_the_service_has_forgotten_is_found() {
    let forgotten = good().posted(10, LONG, None, Answer::Gone);
    assert_eq!(forgotten.breaks(), [Violation::Forgotten(10)]);
    assert_eq!(forgotten.breaks_in_a_grid(), [Violation::Forgotten(10)]);
    assert_eq!(forgotten.delivered(10).breaks(), [Violation::Forgotten(10), Violation::NotPosted(10)]);
}

#[test]
fn in_a_grid_too_every_fault_is_found() {
    assert_eq!(good().breaks_in_a_grid(), []);
    assert_eq!(good().accepted(10).breaks_in_a_grid(), [Violation::Lost(10)]);
    assert_eq!(good().delivered_as(9, "another id").breaks_in_a_grid(), [Violation::SecondId(9)]);
    assert_eq!(good().delivered(3).breaks_in_a_grid(), [Violation::NotPosted(3)]);
    let late =
        Script::default().posted(0, 2, None, Answer::Accepted).waits(Duration::from_secs(6)).delivered(0);
    assert_eq!(late.breaks_in_a_grid(), [Violation::Late(0)]);
    let order = Script::default().accepted(0).accepted(1).delivered(1).delivered(0);
    assert_eq!(order.breaks_in_a_grid(), [Violation::OutOfOrder(0, 1)]);
    let newer_first = Script::default()
        .with_topic(0, Answer::Accepted)
        .with_topic(1, Answer::Accepted)
        .delivered(1)
        .delivered(0);
    assert_eq!(newer_first.breaks_in_a_grid(), [Violation::OutOfOrder(0, 1), Violation::OlderOfTopic(0, 1)]);
    let waits = Script::default()
        .with_topic(0, Answer::Accepted)
        .delivered(0)
        .with_topic(1, Answer::Accepted)
        .event(Event::Drained)
        .delivered(0)
        .delivered(1);
    assert_eq!(waits.breaks_in_a_grid(), [Violation::NotReplaced(0, 1)]);
}

#[test]
fn in_a_grid_what_nobody_knows_of_may_be_accepted_later() {
    let unknown = || Script::default().posted(0, LONG, None, Answer::Unknown).accepted(1);
    let later = || unknown().delivered(1).delivered(0);
    assert_eq!(later().breaks_in_a_grid(), []);
    assert_eq!(later().breaks(), [Violation::OutOfOrder(0, 1)]);
    // It may even replace one that was posted after it, if it has come.
    let topics = || Script::default().with_topic(0, Answer::Unknown).with_topic(1, Answer::Accepted);
    assert_eq!(topics().delivered(0).breaks_in_a_grid(), []);
    assert_eq!(topics().breaks_in_a_grid(), [Violation::Lost(1)]);
    assert_eq!(topics().delivered(0).breaks(), [Violation::Lost(1)]);
    let accepted = Script::default().with_topic(0, Answer::Accepted).with_topic(1, Answer::Accepted);
    assert_eq!(accepted.delivered(0).breaks_in_a_grid(), [Violation::Lost(1)]);
}

#[test]
fn in_a_grid_a_message_that_was_replaced_may_come_again_before_the_newer_one() {
    let again = Script::default()
        .with_topic(0, Answer::Accepted)
        .delivered(0)
        .with_topic(1, Answer::Accepted)
        .delivered(1)
        .delivered(0)
        .delivered(1);
    assert_eq!(again.breaks_in_a_grid(), []);
    assert_eq!(again.breaks(), [Violation::OlderOfTopic(0, 1)]);
}

proptest! {
    #[test]
    fn of_any_number_of_messages_exactly_those_that_never_come_are_lost(comes in prop::collection::vec(any::<bool>(), 1..40)) {
        let script = (0..comes.len()).fold(Script::default(), Script::accepted);
        let came = comes.iter().enumerate().filter(|(_, comes)| **comes).map(|(message, _)| message);
        let script = came.fold(script, Script::delivered);
        let lost = comes.iter().enumerate().filter(|(_, comes)| !**comes);
        let lost: Vec<Violation> = lost.map(|(message, _)| Violation::Lost(message)).collect();
        prop_assert_eq!(script.breaks(), lost);
    }
}
