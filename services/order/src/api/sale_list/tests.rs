use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::super::sales::SalePhase;
use super::*;

const SALE: SaleId = SaleId(Uuid::from_u128(7));
const NEWER: SaleId = SaleId(Uuid::from_u128(8));

/// A list whose readings find what is in `loaded`, and count how many there were.
struct Desk {
    list: SaleList,
    loaded: Arc<Mutex<Vec<SaleId>>>,
    readings: Arc<AtomicUsize>,
}

impl Desk {
    fn open() -> Self {
        let desk = Self {
            list: SaleList::default(),
            loaded: Arc::new(Mutex::new(vec![SALE])),
            readings: Arc::default(),
        };
        let (list, loaded, readings) = (desk.list.clone(), desk.loaded.clone(), desk.readings.clone());
        tokio::spawn(async move {
            let read = move || {
                readings.fetch_add(1, Ordering::SeqCst);
                let loaded = loaded.lock().unwrap().clone();
                std::future::ready(Ok(Known::new(Vec::new(), loaded)))
            };
            list.refresh_with(read, CancellationToken::new()).await;
        });
        desk
    }
}

fn listed(number: u32, signed_off: bool) -> Listed {
    let view = SaleView {
        id: Uuid::from_u128(number.into()),
        name: format!("sale-{}", number % 1_000),
        state: if signed_off { SalePhase::Closed } else { SalePhase::Open },
        opens_at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(number.into()),
        closes_at: OffsetDateTime::UNIX_EPOCH + time::Duration::days(1),
        payment_seconds: 60,
        currency: "EUR".to_owned(),
        items: Vec::new(),
    };
    Listed { view, signed_off }
}

fn list_of(sales: impl DoubleEndedIterator<Item = Listed>) -> SaleList {
    let list = SaleList::default();
    list.0.known.store(Some(Arc::new(Known::new(sales.rev().collect(), []))));
    list
}

fn ids(page: &[SaleView]) -> Vec<u128> {
    page.iter().map(|sale| sale.id.as_u128()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_sale_loaded_a_moment_ago_is_found_by_who_asks_for_a_reading() {
    let desk = Desk::open();
    desk.list.read_anew().await;
    assert!(desk.list.ready().is_ok());
    let order = OrderId::fresh(NEWER);
    assert_eq!(desk.list.places_of(order), []);
    desk.loaded.lock().unwrap().push(NEWER);
    desk.list.read_anew().await;
    assert_eq!(desk.list.places_of(order), [NEWER], "and no other");
}

#[tokio::test(start_paused = true)]
async fn any_number_of_those_who_ask_share_a_bounded_number_of_readings() {
    let desk = Desk::open();
    let began = Instant::now();
    let looks = (0..200).map(async |_| {
        for _ in 0..5 {
            desk.list.read_anew().await;
        }
    });
    futures::future::join_all(looks).await;
    let at_most = began.elapsed().as_millis() / DISTANCE.as_millis() + 2;
    let readings = desk.readings.load(Ordering::SeqCst);
    assert!(readings as u128 <= at_most, "{readings} readings for 1,000 looks, {at_most} are allowed");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_reading_that_does_not_come_goes_on() {
    let list = SaleList::default();
    list.read_anew().await;
    assert_eq!(list.places_of(OrderId::fresh(SALE)), []);
}

/// S3: an open sale is found behind any number of later ones.
#[test]
fn pages_reach_the_oldest_sale_whose_books_are_open() {
    let list = list_of((1..=500).map(|number| listed(number, false)));
    let mut seen = Vec::new();
    let mut after = None;
    while let Some(page) = list.page(after, 7).filter(|page| !page.is_empty()) {
        after = page.last().map(place);
        seen.extend(ids(&page));
    }
    assert_eq!(seen, (1..=500).rev().collect::<Vec<u128>>());
    assert_eq!(list.named("sale-1"), Some(SaleId(Uuid::from_u128(1))));
}

#[test]
fn a_page_that_may_lack_a_finished_sale_is_not_made_from_memory() {
    // Sale 1 is open, and there may be others behind the oldest of the finished ones.
    let finished = u32::from(FINISHED);
    let list = list_of((1..=finished + 1).map(|number| listed(number, number > 1)));
    let whole = list.page(None, usize::from(FINISHED)).map(|page| page.len());
    assert_eq!(whole, Some(usize::from(FINISHED)));
    assert!(list.page(None, usize::from(FINISHED) + 1).is_none());
    let oldest = list.page(None, usize::from(FINISHED)).and_then(|page| page.last().map(place));
    assert!(list.page(oldest, 1).is_none());

    let all = list_of((1..finished).map(|number| listed(number, number > 1)));
    assert_eq!(all.page(None, 1_000).map(|page| page.len()), Some(usize::from(FINISHED) - 1));
}

#[test]
fn of_several_sales_of_one_name_the_one_that_opens_last_is_meant() {
    let list = list_of([listed(5, false), listed(1_005, false), listed(2_005, true)].into_iter());
    assert_eq!(list.named("sale-5"), Some(SaleId(Uuid::from_u128(2_005))));
}
