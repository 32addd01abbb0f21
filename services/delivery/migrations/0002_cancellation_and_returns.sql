-- A request to cancel is answered once: cancelled, or refused because the parcel had left.
ALTER TABLE shipments ADD COLUMN cancel_answered_at timestamptz;

-- Goods on their way back. The id is the order's name for it.
CREATE TABLE returns (
    id              uuid PRIMARY KEY,
    shipment_id     uuid NOT NULL REFERENCES shipments,
    lines           jsonb NOT NULL,
    reason          text NOT NULL,
    state           text NOT NULL CHECK (state IN ('announced', 'in_transit', 'received')),
    tracking_number text UNIQUE,
    -- The trace of the request, taken up again by every step.
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    collected_at    timestamptz,
    received_at     timestamptz,
    -- When the carrier is asked next.
    next_look_at    timestamptz,
    CONSTRAINT collected_has_a_number CHECK ((state = 'announced') = (tracking_number IS NULL)),
    CONSTRAINT collected_has_a_time CHECK ((state = 'announced') = (collected_at IS NULL)),
    CONSTRAINT received_has_a_time CHECK ((state = 'received') = (received_at IS NOT NULL)),
    CONSTRAINT moving_is_looked_at CHECK ((state = 'received') = (next_look_at IS NULL))
);
CREATE INDEX returns_moving ON returns (next_look_at) WHERE next_look_at IS NOT NULL;
CREATE INDEX returns_of_shipment ON returns (shipment_id);
