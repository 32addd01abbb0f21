-- The provider gave money back that nobody here had asked for, in its console say. It is taken over as a refund that was
-- made, so that never more goes back than was captured.
ALTER TABLE refunds
    ADD COLUMN by_provider boolean NOT NULL DEFAULT false,
    -- What was asked for, where less was left to give back.
    ADD COLUMN asked_amount bigint;
