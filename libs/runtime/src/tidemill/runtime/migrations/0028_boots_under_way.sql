-- A boot is recorded while it is under way, once it takes long, so that its set-up's log can be read before it ends.
ALTER TABLE boot ADD COLUMN queue text;   -- the version's own, or that of a deployment's release or a training
ALTER TABLE boot ADD COLUMN worker text;  -- while its lease holds and neither ready_at nor error is set, it goes on
