-- A SKU is held by what is published with it, and not by a draft (docs/adr/0020).
--
-- The rows of `variants` are the claims: one product per SKU. A product that holds not all of its SKUs, as a draft
-- or one that was withdrawn, has its variants set aside in its own row. What is set aside counts only for the version
-- it was written with, so a process of the version before, which knows of rows alone, is still understood.
ALTER TABLE products
    ADD COLUMN set_aside         jsonb,
    ADD COLUMN set_aside_version bigint;

ALTER TABLE variants
    -- which publication took the SKU: microseconds by this server's clock, so that the later has the greater
    ADD COLUMN claim      bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    -- the version in which the quantity was counted last; unknown of what older versions wrote
    ADD COLUMN counted_in bigint;
