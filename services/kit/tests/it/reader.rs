use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::read_all_then_follow;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::support::{Recorder, create_topic, event, eventually, shop};

#[tokio::test]
async fn everything_is_read_before_it_says_so_and_then_followed() {
    let shop = shop().await;
    create_topic(&shop, "products", 3).await;
    let producer = shop.producer().unwrap();
    let products: Vec<_> = (0..50).map(|n| event(&format!("product-{n}"), n)).collect();
    producer.send_all("products", &products).await.unwrap();

    let recorder = Arc::new(Recorder::willing());
    let read_when_caught_up = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (shop, recorder, seen, stop) =
            (shop.clone(), recorder.clone(), read_when_caught_up.clone(), stop.clone());
        async move {
            let counted = recorder.clone();
            let caught_up = move || seen.store(counted.deliveries().len(), Ordering::SeqCst);
            read_all_then_follow(&shop, "search", "products", recorder, caught_up, stop).await
        }
    });
    eventually("it has caught up", async || read_when_caught_up.load(Ordering::SeqCst) > 0).await;
    assert_eq!(read_when_caught_up.load(Ordering::SeqCst), 50);

    let end = Event::tombstone("/rocketmart/catalog", "rocketmart.product.changed.v1", "product-7");
    producer.send_all("products", &[end]).await.unwrap();
    eventually("the tombstone arrives", async || recorder.deliveries().len() == 51).await;
    let last = &recorder.deliveries()[50].event;
    assert!(last.is_tombstone());
    assert_eq!(last.key, "product-7");
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_empty_topic_is_caught_up_with_at_once() {
    let shop = shop().await;
    create_topic(&shop, "products", 2).await;
    let stop = CancellationToken::new();
    let caught_up = CancellationToken::new();
    let tell = caught_up.clone();
    let task = tokio::spawn({
        let (shop, stop) = (shop.clone(), stop.clone());
        async move {
            let handler = Arc::new(Recorder::willing());
            read_all_then_follow(&shop, "search", "products", handler, move || tell.cancel(), stop).await
        }
    });
    tokio::time::timeout(std::time::Duration::from_secs(20), caught_up.cancelled()).await.unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn k22_who_follows_a_topic_warns_of_nothing_while_all_is_well() {
    let shop = shop().await;
    create_topic(&shop, "products", 3).await;
    let (log, producer) = (Log::default(), shop.producer().unwrap());
    let lines = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(move || lines.clone()).finish();
    // For this thread, on which the reader runs too.
    let _logging = tracing::subscriber::set_default(subscriber);
    // A broker that has just made a topic may not list it yet; one that takes its events does.
    producer.send_all("products", &[event("product", 0)]).await.unwrap();
    let (recorder, stop) = (Arc::new(Recorder::willing()), CancellationToken::new());
    let task = tokio::spawn({
        let (shop, recorder, stop) = (shop.clone(), recorder.clone(), stop.clone());
        async move { read_all_then_follow(&shop, "search", "products", recorder, || {}, stop).await }
    });
    for n in 0..10 {
        producer.send_all("products", &[event(&format!("product-{n}"), n)]).await.unwrap();
        let read = n as usize + 2;
        eventually("it is read", async || recorder.deliveries().len() == read).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&log.0.lock().unwrap()), "");
}
