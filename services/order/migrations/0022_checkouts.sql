-- What members have checked out and not paid yet, while Redis has it and the books do not (docs/adr/0022). Rows of
-- orders that are booked count no more, and go with the next check-out of their buyer.
CREATE TABLE checkouts (
    order_id uuid PRIMARY KEY,
    buyer_id uuid        NOT NULL,
    units    bigint      NOT NULL CHECK (units > 0),
    pay_by   timestamptz NOT NULL
);
CREATE INDEX checkouts_by_buyer ON checkouts (buyer_id);
