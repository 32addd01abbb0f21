-- While Redis is not believed about a sale nobody has a verdict on its payments. One that failed gives units
-- back, and a reservation that waits for them holds the rebuild up (docs/adr/0005): then these tables decide.
ALTER TABLE sales ADD COLUMN books_decide boolean NOT NULL DEFAULT false;
