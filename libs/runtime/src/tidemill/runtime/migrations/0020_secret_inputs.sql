-- Which inputs of a version are secret, or may hold a secret: what shows a prediction leaves them out.
CREATE FUNCTION secret_inputs_of(schema json) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT COALESCE(array_agg(DISTINCT input ->> 'key'), '{}')
    FROM (
        SELECT jsonb_path_query(schema::jsonb, '$.components.schemas.Input.properties.keyvalue()', silent => true)
        UNION ALL
        SELECT jsonb_path_query(schema::jsonb, '$.components.schemas.TrainingInput.properties.keyvalue()', silent => true)
    ) AS i (input)
    WHERE jsonb_path_exists(
        input, '$.value.** ? (@."x-cog-secret" == true || @.format == "password" || @.writeOnly == true)')
$$;
ALTER TABLE version ADD COLUMN secret_inputs text[] NOT NULL GENERATED ALWAYS AS (secret_inputs_of(openapi_schema)) STORED;
