CREATE TABLE stock (name text PRIMARY KEY, count integer NOT NULL);
INSERT INTO stock VALUES ('apples', 30), ('pears', 12);
