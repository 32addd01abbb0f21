//! A sale that Redis lost, rebuilt from what SQL remembers of it.

use std::collections::BTreeMap;

use rocketmart_stock::{
    ConfirmOutcome, LoadOutcome, OrderId, ReleaseReason, Remembered, Reservation, ReserveOutcome, Restore,
    RestoreOutcome, SaleState, StreamPosition, VouchOutcome,
};

use crate::support::{Sale, TEA, a_buyer, expect_reserved, item};

/// Every reservation of the sale, by order.
async fn reservations(sale: &Sale) -> BTreeMap<OrderId, Reservation> {
    let (next, page) = sale.stock.scan_reservations(sale.id(), 0, 10_000).await.unwrap();
    assert_eq!(next, 0);
    page.into_iter().map(|reservation| (reservation.order, reservation)).collect()
}

async fn flush(sale: &Sale) {
    let _: () = redis::cmd("FLUSHALL").query_async(&mut sale.connection().await).await.unwrap();
}

fn restore(sale: &Sale, incarnation: i32, reservations: Vec<Remembered>) -> Restore {
    let stream_from_ms = crate::support::now_ms() + 60_000;
    Restore {
        spec: sale.spec.clone(),
        state: SaleState::Suspended,
        incarnation,
        stream_from_ms,
        reservations,
    }
}

#[tokio::test]
async fn a_rebuilt_sale_is_the_sale_that_was_lost() {
    let sale = Sale::of(vec![item(TEA, 20, Some(2))]).await;
    let mut wishes = BTreeMap::new();
    let mut made = Vec::new();
    for number in 0..6 {
        let wish = sale.wish(a_buyer(), &format!("\"key\\{number}"), &[(TEA, 2)]);
        let reservation = expect_reserved(sale.decide(&wish).await);
        wishes.insert(reservation.order, wish);
        made.push(reservation);
    }
    for submitted in [1, 2, 5] {
        sale.stock.submit_payment(&sale.payment(&made[submitted])).await.unwrap();
    }
    sale.stock.confirm(sale.id(), &[made[2].order]).await.unwrap();
    sale.stock.cancel(sale.id(), made[3].order, made[3].buyer).await.unwrap();
    for lapsed in [4, 5] {
        sale.let_deadline_pass(&made[lapsed]).await;
    }
    let (before, known) = (sale.counters().await, reservations(&sale).await);
    assert_eq!(sale.tea().await, (10, 8, 2));

    flush(&sale).await;
    assert_eq!(sale.stock.counters(sale.id()).await, Ok(None));
    let remembered = known.values().map(|reservation| {
        let wish = &wishes[&reservation.order];
        let wish = Some((wish.key.clone(), wish.request_hash.clone()));
        Remembered { reservation: reservation.clone(), wish }
    });
    let restore = restore(&sale, 1, remembered.collect());
    assert_eq!(sale.stock.restore(&restore).await, Ok(RestoreOutcome::Restored));

    let after = sale.counters().await;
    assert_eq!((&after.items, after.outstanding_reservations), (&before.items, 4));
    assert_eq!(
        (after.state, after.opens_at_ms, after.closes_at_ms),
        (SaleState::Suspended, before.opens_at_ms, before.closes_at_ms)
    );
    assert_eq!((after.stream_length, after.last_event_id), (0, format!("{}-0", restore.stream_from_ms)));
    assert_eq!(reservations(&sale).await, known);
    assert_eq!(sale.stock.sales().await, Ok(vec![sale.id()]));

    // Nobody has vouched for it yet.
    sale.set_state(SaleState::Ready).await;
    assert_eq!(sale.decide(&wishes[&made[0].order]).await, ReserveOutcome::Suspended);
    let start = StreamPosition { ms: restore.stream_from_ms, sequence: 0 };
    assert_eq!(sale.stock.vouch(sale.id(), 1, start).await, Ok(VouchOutcome::Vouched));

    // It goes on as if nothing had happened: keys, limits, deadlines, decisions, the stream.
    let again = sale.decide(&wishes[&made[0].order]).await;
    assert!(matches!(&again, ReserveOutcome::Duplicate(found) if found.order == made[0].order), "{again:?}");
    let more = sale.decide(&sale.wish(made[0].buyer, "another", &[(TEA, 1)])).await;
    assert!(matches!(more, ReserveOutcome::LimitExceeded { held: 2, .. }), "{more:?}");
    assert_eq!(sale.expire(10).await, 2, "those that lapsed, and one beyond its grace");
    assert_eq!(sale.stock.confirm(sale.id(), &[made[1].order]).await, Ok(vec![ConfirmOutcome::Confirmed]));
    let late = sale.stock.confirm(sale.id(), &[made[3].order]).await;
    assert_eq!(late, Ok(vec![ConfirmOutcome::Released(ReleaseReason::Cancelled)]));
    assert_eq!(sale.tea().await, (14, 2, 4));
    let end: StreamPosition = sale.counters().await.last_event_id.parse().unwrap();
    assert!(end > start, "{end}");
}

#[tokio::test]
async fn what_does_not_count_up_is_not_swapped_in() {
    let sale = Sale::of_tea(5).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    flush(&sale).await;
    let twice = Remembered { reservation, wish: None };
    let outcome = sale.stock.restore(&restore(&sale, 1, vec![twice.clone(), twice])).await.unwrap();
    assert!(matches!(&outcome, RestoreOutcome::Differs { found: 1, .. }), "{outcome:?}");
    assert_eq!(sale.stock.counters(sale.id()).await, Ok(None));
}

#[tokio::test]
async fn of_two_who_rebuild_redis_follows_the_higher_incarnation_and_fence() {
    let sale = Sale::of_tea(5).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let remembered = vec![Remembered { reservation, wish: None }];
    let mut stale = restore(&sale, 9, vec![]);
    stale.spec.fence -= 1;
    assert_eq!(sale.stock.restore(&stale).await, Ok(RestoreOutcome::StaleFence { seen: sale.spec.fence }));
    assert_eq!(sale.stock.restore(&restore(&sale, 2, remembered)).await, Ok(RestoreOutcome::Restored));
    // An attempt that froze before it began must not forget what the other has rebuilt.
    for incarnation in [1, 2] {
        let outcome = sale.stock.restore(&restore(&sale, incarnation, vec![])).await;
        assert_eq!(outcome, Ok(RestoreOutcome::Superseded));
    }
    assert_eq!(sale.tea().await, (4, 1, 0));
    assert_eq!(sale.stock.load(&sale.spec).await, Ok(LoadOutcome::AlreadyLoaded));
}
