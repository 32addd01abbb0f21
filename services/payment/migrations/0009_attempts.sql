-- A payment that failed may be followed by another attempt of its buyer, by another card: the order has one payment,
-- which begins anew. `request` numbers what the order asked for; `attempts` counts how often the provider was called
-- for it. Once `closed`, nothing is charged for the order any more.
ALTER TABLE payments
    ADD COLUMN request integer NOT NULL DEFAULT 1 CHECK (request > 0),
    ADD COLUMN closed boolean NOT NULL DEFAULT false;

-- What came of the requests before the present one.
CREATE TABLE payment_requests_failed (
    payment_id        uuid NOT NULL REFERENCES payments,
    request           integer NOT NULL,
    payment_method_id uuid,
    reason            text NOT NULL,
    settled_at        timestamptz NOT NULL,
    PRIMARY KEY (payment_id, request)
);

-- What costs nothing is paid without the provider.
ALTER TABLE payments
    DROP CONSTRAINT succeeded_means_charged,
    ADD CONSTRAINT succeeded_means_charged CHECK
        ((state = 'succeeded' OR provider_charge_id IS NULL)
         AND (state <> 'succeeded' OR amount = 0 OR provider_charge_id IS NOT NULL));
