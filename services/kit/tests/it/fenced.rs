//! Of several publishers with one name, only the newest is heard.

use std::sync::Arc;

use rocketmart_kit::kafka::{FencedProducer, read_all_then_follow};
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, create_topic, event, eventually, shop};

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_was_replaced_cannot_write_old_events_behind_new_ones() {
    let shop = shop().await;
    create_topic(&shop, "products", 1).await;
    let first = FencedProducer::take_over(&shop, "publisher").await.unwrap();
    first.send_all("products", &[event("mug", 1)]).await.unwrap();
    // The first falls asleep with the second event in its hands, and another one takes over.
    let second = FencedProducer::take_over(&shop, "publisher").await.unwrap();
    second.send_all("products", &[event("mug", 2), event("mug", 3)]).await.unwrap();
    first.send_all("products", &[event("mug", 2)]).await.unwrap_err();
    let elsewhere = FencedProducer::take_over(&shop, "of another name").await.unwrap();
    elsewhere.send_all("others", &[event("cup", 1)]).await.unwrap();
    second.send_all("products", &[event("mug", 4)]).await.unwrap();

    let recorder = Arc::new(Recorder::willing());
    let (stop, caught_up) = (CancellationToken::new(), CancellationToken::new());
    let task = tokio::spawn({
        let (shop, handler, stop, tell) = (shop.clone(), recorder.clone(), stop.clone(), caught_up.clone());
        async move {
            read_all_then_follow(&shop, "reader", "products", handler, move || tell.cancel(), stop).await
        }
    });
    eventually("the reader has caught up", async || caught_up.is_cancelled()).await;
    assert_eq!(recorder.numbers(), [1, 2, 3, 4]);
    stop.cancel();
    task.await.unwrap().unwrap();
}
