//! Kafka: events out ([`Producer`], [`FencedProducer`]), events in ([`Consumer`], [`read_all_then_follow`]),
//! how far other groups are ([`GroupProgress`]), and moving a group back ([`rewind`]). A topic that was
//! recreated is read again from its beginning, and lacks its [`TopicMark`].
//!
//! Delivery is at least once on both sides; the receiver's inbox makes it once. Events travel as CloudEvents
//! in binary content mode, see `wire`.

mod batch;
mod consumer;
mod context;
mod dead_letter;
mod dead_letter_box;
mod fenced;
mod handler;
mod mark;
mod place;
mod producer;
mod progress;
mod reader;
mod recreated;
mod rewind;
mod topics;
mod trouble;
mod wire;

pub use consumer::Consumer;
pub use dead_letter_box::{DeadLetter, DeadLetterBox, LetterId};
pub use fenced::FencedProducer;
pub use handler::{Delivery, HandleError, Handler};
pub use mark::TopicMark;
pub use producer::Producer;
pub use progress::{Ends, GroupProgress};
pub use reader::read_all_then_follow;
pub use rewind::{Rewound, rewind};
pub use topics::{TopicSpec, create_topics};
