-- The table that the drop in sample/ goes into. A loader never makes a table: what it holds is its owner's to say.
CREATE SCHEMA IF NOT EXISTS lab;
CREATE TABLE lab.samples (
    id text PRIMARY KEY,
    donor text NOT NULL,
    taken timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('serum', 'plasma', 'EDTA blood', 'urine')),
    volume_ml numeric(5, 2) CHECK (volume_ml > 0),
    note text
);
