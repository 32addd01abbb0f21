-- Products and what members note about them.

CREATE TABLE products (
    id uuid PRIMARY KEY,                         -- version 7: its order is the order of creation
    seller_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    state text NOT NULL CHECK (state IN ('draft', 'published', 'withdrawn')),
    title text NOT NULL,
    description text NOT NULL,
    currency text NOT NULL,
    categories text[] NOT NULL,
    tags text[] NOT NULL,
    pictures text[] NOT NULL,
    likes bigint NOT NULL DEFAULT 0 CHECK (likes >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 80);                        -- room for counting likes in place

CREATE INDEX products_published ON products (id) WHERE state = 'published';
CREATE INDEX products_of_seller ON products (seller_id, id);

CREATE TABLE variants (
    sku text PRIMARY KEY,                        -- one product in the whole shop
    product_id uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    place integer NOT NULL,                      -- order within the product
    price bigint NOT NULL CHECK (price >= 0),    -- minor units of the product's currency
    quantity bigint NOT NULL CHECK (quantity >= 0),
    options jsonb NOT NULL
);

CREATE INDEX variants_of_product ON variants (product_id);

CREATE TABLE marks (
    kind text NOT NULL CHECK (kind IN ('like', 'wish')),
    member_id uuid NOT NULL,
    product_id uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    marked_at timestamptz NOT NULL,
    PRIMARY KEY (kind, member_id, product_id)
);

CREATE INDEX marks_latest_first ON marks (kind, member_id, marked_at, product_id);
CREATE INDEX marks_of_product ON marks (product_id);
