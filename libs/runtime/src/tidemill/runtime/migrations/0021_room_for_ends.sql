-- A page must hold its predictions twice for a moment: as they were accepted, and as they ended. With 30 % of it left
-- free every second end moved to another page and into every index; with 60 % two in a thousand do.
ALTER TABLE prediction SET (fillfactor = 40);
