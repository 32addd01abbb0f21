-- How often the buyer has asked to pay for the order: a payment that failed may be followed by another. Rows of the
-- version before have 0; those whose payment was asked for count as 1.
ALTER TABLE orders ADD COLUMN payment_attempt integer NOT NULL DEFAULT 0;
