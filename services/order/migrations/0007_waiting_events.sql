-- Events of a sale's stream that came before the units they need: a reservation whose units another order has
-- given back, before the news of that (orders are spread over partitions), and what came after it about the
-- same order. None of them counts as received before it is booked.
CREATE TABLE waiting_events (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id     uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    id          text COLLATE "C" NOT NULL UNIQUE,
    type        text        NOT NULL,
    source      text        NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea       NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    -- the units did not come: somebody has to look at it
    refused     text
);
CREATE INDEX waiting_events_by_order ON waiting_events (order_id);
CREATE INDEX waiting_events_by_sale ON waiting_events (sale_id);
