-- What follows a payment waits behind it: shipments of an order whose payment is parked, after these tables were
-- restored from a backup.
CREATE INDEX parked_payments_by_order ON parked_payments (order_id);
