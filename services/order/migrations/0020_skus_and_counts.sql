-- Whose a SKU is, and what its seller has on hand (docs/adr/0020, 0021).

ALTER TABLE skus
    -- which publication took the SKU; of two products that had it the later has the greater number
    ADD COLUMN claim      bigint NOT NULL DEFAULT 0,
    -- the version of the product in which its seller counted last; 0: not known
    ADD COLUMN counted_in bigint NOT NULL DEFAULT 0,
    -- units by which `on_hand` is above what the seller has: promised ones, taken away as they come free
    ADD COLUMN surplus    bigint NOT NULL DEFAULT 0 CHECK (surplus >= 0);

-- What was refused so far. Whoever still notes it in the old way is understood: see store/skus.rs.
UPDATE skus SET surplus = greatest(supplied - refused_supply, 0), supplied = refused_supply, refused_supply = NULL
WHERE refused_supply IS NOT NULL AND refused_supply >= 0;

-- Products of other sellers that took a SKU while units of it are still promised or on offer. They follow when the
-- last of these is gone; the newest only.
CREATE TABLE sku_heirs (
    sku        text PRIMARY KEY REFERENCES skus,
    product_id uuid   NOT NULL,
    version    bigint NOT NULL,
    claim      bigint NOT NULL,
    -- the product as it was told, with this variant alone
    product    jsonb  NOT NULL
);
CREATE INDEX sku_heirs_by_product ON sku_heirs (product_id);
