-- Sales are found however many there are.

-- The list of sales, page by page: the one that opens last first.
CREATE INDEX sales_by_opening ON sales (opens_at DESC, id DESC) WHERE NOT standing;

-- Those whose books are not signed off. Every replica keeps them in memory.
CREATE INDEX sales_not_signed_off ON sales (id) WHERE state <> 'closed_out';

-- The id of an order ends as the id of its sale does.
CREATE INDEX sales_by_ending ON sales (right(id::text, 4)) WHERE state <> 'closed_out';
