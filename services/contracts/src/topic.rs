//! The topics between services, by their names without the shop's prefix.

/// What Redis decided, written by order-relay.
pub const RESERVATIONS: &str = "reservations";
/// What became of orders, written by order-worker.
pub const ORDERS: &str = "orders";
/// What became of charges and refunds, written by payment-worker.
pub const PAYMENTS: &str = "payments";
/// Where parcels and returns are, written by delivery-worker.
pub const DELIVERIES: &str = "deliveries";
/// Each product as it is now, written by catalog.
pub const PRODUCTS: &str = "products";
/// How many units of each SKU can be had, written by order-worker.
pub const STOCK_LEVELS: &str = "stock-levels";

/// Events that are worked off and then forgotten.
pub const EVENTS: [&str; 4] = [RESERVATIONS, ORDERS, PAYMENTS, DELIVERIES];
/// The last message of each key, kept for ever.
pub const COMPACTED: [&str; 2] = [PRODUCTS, STOCK_LEVELS];
