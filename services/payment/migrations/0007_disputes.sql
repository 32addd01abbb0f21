-- A difference may also be found between two reconciliations: in what the provider told by itself, or in an
-- answer of its. It belongs to no run then, and is written down once however often it is told.
ALTER TABLE reconciliation_differences
    ALTER COLUMN run_id DROP NOT NULL,
    ADD COLUMN found_at timestamptz NOT NULL DEFAULT now();
CREATE UNIQUE INDEX reconciliation_differences_told
    ON reconciliation_differences (kind, reference, coalesce(provider_charge_id, ''))
    WHERE run_id IS NULL;
CREATE INDEX reconciliation_differences_found ON reconciliation_differences (found_at);
