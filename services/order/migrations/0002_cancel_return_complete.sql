-- Orders after payment: cancelled before they ship, returned after delivery, completed in time.
-- The CHECKs are the last guard: never more units or more money back than were bought and paid.

ALTER TABLE orders
    ADD COLUMN delivered_at        timestamptz,
    -- a buyer asked to cancel a paid order; the carrier decides
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN cancel_reason       text,
    -- where the parcel was when the carrier refused
    ADD COLUMN cancel_refused      text,
    -- money asked back from the payment service, and money it gave back
    ADD COLUMN refunds_requested   bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded            bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT orders_refunds_within_amount
        CHECK (0 <= refunded AND refunded <= refunds_requested AND refunds_requested <= amount),
    ADD CONSTRAINT orders_refund_what_was_paid CHECK (refunds_requested = 0 OR paid_at IS NOT NULL);

-- Orders whose time to be returned runs. Delivered before this migration: by their last news.
CREATE INDEX orders_delivered ON orders ((coalesce(delivered_at, shipment_updated_at))) WHERE state = 'delivered';

-- units of a line that are in returns, whether they have come back or not
ALTER TABLE order_lines
    ADD COLUMN returned bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT order_lines_returned_within_bought CHECK (0 <= returned AND returned <= quantity);

CREATE TABLE returns (
    id              uuid PRIMARY KEY,
    order_id        uuid        NOT NULL REFERENCES orders,
    state           text        NOT NULL CHECK
        (state IN ('requested', 'announced', 'in_transit', 'received', 'refunded', 'refund_failed')),
    reason          text        NOT NULL,
    amount          bigint      NOT NULL CHECK (amount >= 0),
    requested_at    timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    tracking_number text
);
CREATE INDEX returns_by_order ON returns (order_id, id);

CREATE TABLE return_lines (
    return_id uuid   NOT NULL REFERENCES returns,
    sku       text   NOT NULL,
    quantity  bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (return_id, sku)
);

-- Refunds as the payment service told us; one charge may be given back in parts.
CREATE TABLE refunds_seen (
    refund_id  uuid PRIMARY KEY,
    payment_id uuid        NOT NULL,
    order_id   uuid        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount >= 0),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_seen_by_payment ON refunds_seen (payment_id);

-- The kit's definition (rocketmart-kit, module idempotency).
CREATE TABLE idempotency (
    owner        uuid NOT NULL,
    route        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    headers      jsonb NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, route, key)
);
