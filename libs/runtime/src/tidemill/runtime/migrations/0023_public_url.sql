-- The public URL by which a create came, for those who show the prediction and know no request: webhooks. Null is the
-- first that the operator lists.
ALTER TABLE prediction ADD COLUMN public_url text;
