-- Ordinary stock goes through the same engine as a sale: for each currency one sale without an end, the
-- standing sale, which offers what is on hand and promised to nobody. Its ledger rows, its orders and
-- its reservations are those of any sale.
ALTER TABLE sales ADD COLUMN standing boolean NOT NULL DEFAULT false;
CREATE INDEX sales_standing ON sales (id) WHERE standing;

-- Fences of the standing sales. A sequence does not go back with a transaction, so a call to Redis that
-- was delayed is always older than what was done since.
CREATE SEQUENCE standing_fence;

-- Units on the shelves of standing sales, free or reserved: the sum of `remaining` and `reserved` there.
-- The CHECK is the last guard against promising one unit to a sale and to the shelf.
ALTER TABLE stock
    ADD COLUMN shelved bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT stock_promised_within_on_hand CHECK (0 <= shelved AND allocated + shelved <= on_hand);

-- What is on offer of this SKU may not be what should be: whoever keeps the shelves has to look at it.
ALTER TABLE skus ADD COLUMN unsettled boolean NOT NULL DEFAULT true;
CREATE INDEX skus_unsettled ON skus (sku) WHERE unsettled;

-- Units that are promised to nobody any more are for sale, wherever they come from: supplied, cancelled,
-- returned, or left over from a sale. Here, so that no way of freeing units can forget it.
CREATE FUNCTION unsettle_sku() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE skus SET unsettled = true WHERE sku = NEW.sku AND NOT unsettled;
    RETURN NULL;
END
$$;
CREATE TRIGGER stock_was_freed AFTER UPDATE ON stock FOR EACH ROW
    WHEN (NEW.on_hand - NEW.allocated - NEW.shelved > OLD.on_hand - OLD.allocated - OLD.shelved)
    EXECUTE FUNCTION unsettle_sku();

-- Units of a SKU that buyers of ordinary stock hold and have yet to pay for.
CREATE FUNCTION held_on_shelf(wanted text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(reserved), 0)::bigint FROM sale_items
    WHERE sale_id IN (SELECT id FROM sales WHERE standing) AND sku = wanted
$$;
