-- Links that made a member, for as long as they would have worked: whoever presses one twice is told
-- that it is done.
CREATE TABLE followed_links (
    hash       bytea PRIMARY KEY,
    member_id  uuid NOT NULL REFERENCES members ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX followed_links_by_member ON followed_links (member_id);
CREATE INDEX followed_links_by_expiry ON followed_links (expires_at);
