-- What the order calls a refund, a return's id for instance. One refund per name, unless it failed.
ALTER TABLE refunds ADD COLUMN reference uuid;
CREATE UNIQUE INDEX refunds_one_per_reference ON refunds (payment_id, reference)
    WHERE reference IS NOT NULL AND state <> 'failed';
