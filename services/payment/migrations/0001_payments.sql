-- Payment methods: what the provider gave for a card, never the card.
CREATE TABLE payment_methods (
    id             uuid PRIMARY KEY,
    member_id      uuid NOT NULL,
    provider_token text NOT NULL,
    label          text,
    is_default     boolean NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX payment_methods_one_default ON payment_methods (member_id) WHERE is_default;
CREATE INDEX payment_methods_of_member ON payment_methods (member_id, id);

-- One payment per order: together with the payment id as the provider's idempotency key this is
-- what keeps an order from being charged twice.
CREATE TABLE payments (
    id                 uuid PRIMARY KEY,
    order_id           uuid NOT NULL UNIQUE,
    buyer_id           uuid NOT NULL,
    amount             bigint NOT NULL CHECK (amount >= 0),
    currency           text NOT NULL,
    payment_method_id  uuid,
    provider_token     text,
    state              text NOT NULL CHECK (state IN ('requested', 'processing', 'succeeded', 'failed', 'voided')),
    reason             text,
    provider_charge_id text UNIQUE,
    refunded           bigint NOT NULL DEFAULT 0,
    -- The order gave the stock back: nothing may be charged any more.
    released           boolean NOT NULL DEFAULT false,
    attempts           integer NOT NULL DEFAULT 0,
    pay_by             timestamptz NOT NULL,
    -- The trace of the order's request, taken up again by the events that answer it.
    traceparent        text,
    -- When a worker looks at it next: back-off while unknown, and the lease while one works on it.
    due_at             timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    settled_at         timestamptz,
    -- By the provider's clock, as in its list.
    charged_at         timestamptz,
    CONSTRAINT succeeded_means_charged CHECK ((state = 'succeeded') = (provider_charge_id IS NOT NULL)),
    CONSTRAINT failed_has_a_reason CHECK ((state IN ('failed', 'voided')) = (reason IS NOT NULL)),
    CONSTRAINT open_means_due CHECK ((state IN ('requested', 'processing')) = (due_at IS NOT NULL)),
    CONSTRAINT open_has_a_token CHECK (state NOT IN ('requested', 'processing') OR provider_token IS NOT NULL),
    CONSTRAINT refunds_within_charge CHECK (refunded BETWEEN 0 AND amount AND (refunded = 0 OR state = 'succeeded'))
);
CREATE INDEX payments_due ON payments (due_at) WHERE state IN ('requested', 'processing');
CREATE INDEX payments_of_buyer ON payments (buyer_id, created_at DESC, id DESC);
CREATE INDEX payments_charged ON payments (charged_at) WHERE charged_at IS NOT NULL;

-- A refund is reserved in payments.refunded in the transaction that inserts it.
CREATE TABLE refunds (
    id                 uuid PRIMARY KEY,
    -- The id of the event that asked for it.
    request_id         text NOT NULL UNIQUE,
    payment_id         uuid NOT NULL REFERENCES payments,
    amount             bigint NOT NULL CHECK (amount >= 0),
    reason             text NOT NULL,
    traceparent        text,
    state              text NOT NULL CHECK (state IN ('requested', 'processing', 'succeeded', 'failed')),
    failure            text,
    provider_refund_id text UNIQUE,
    attempts           integer NOT NULL DEFAULT 0,
    due_at             timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    settled_at         timestamptz,
    CONSTRAINT succeeded_means_refunded CHECK ((state = 'succeeded') = (provider_refund_id IS NOT NULL)),
    CONSTRAINT failed_has_a_failure CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT open_means_due CHECK ((state IN ('requested', 'processing')) = (due_at IS NOT NULL))
);
CREATE INDEX refunds_due ON refunds (due_at) WHERE state IN ('requested', 'processing');
CREATE INDEX refunds_of_payment ON refunds (payment_id);

-- Each run compares what the provider charged within [since, until) with the payments.
CREATE TABLE reconciliation_runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    charges     bigint NOT NULL,
    differences bigint NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE reconciliation_differences (
    run_id             bigint NOT NULL REFERENCES reconciliation_runs,
    kind               text NOT NULL,
    reference          text NOT NULL,
    provider_charge_id text,
    payment_id         uuid,
    detail             text NOT NULL
);
CREATE INDEX reconciliation_differences_of_run ON reconciliation_differences (run_id);

-- The frame every service shares: what goes out, what came in, and answers kept for repeats.
CREATE TABLE outbox (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    key         text NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    source      text NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE inbox (
    id          text PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);

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
