-- Money is set aside first and captured then, unless the payment is made in one call. The way is chosen
-- when the provider is first called, and kept: a payment under way never changes it.
ALTER TABLE payments
    ADD COLUMN capture text CHECK (capture IN ('manual', 'automatic')),
    ADD COLUMN provider_authorization_id text,
    ADD COLUMN authorized_at timestamptz;

-- Payments under way now were begun in one call.
UPDATE payments SET capture = 'automatic' WHERE state = 'processing';

ALTER TABLE payments
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (state IN
        ('requested', 'processing', 'authorized', 'capturing', 'succeeded', 'failed', 'voided')),
    DROP CONSTRAINT open_means_due,
    ADD CONSTRAINT open_means_due CHECK
        ((state IN ('requested', 'processing', 'authorized', 'capturing')) = (due_at IS NOT NULL)),
    DROP CONSTRAINT open_has_a_token,
    ADD CONSTRAINT open_has_a_token CHECK (due_at IS NULL OR provider_token IS NOT NULL),
    ADD CONSTRAINT held_has_an_authorization CHECK
        (state NOT IN ('authorized', 'capturing') OR provider_authorization_id IS NOT NULL);

DROP INDEX payments_due;
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
