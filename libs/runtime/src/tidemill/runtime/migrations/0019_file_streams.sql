-- Whether what a version streams are files: their streams have a path of their own, which is how clients tell.
ALTER TABLE version ADD COLUMN streams_files boolean NOT NULL GENERATED ALWAYS AS (
    streams AND COALESCE(openapi_schema #>> '{components,schemas,Output,items,format}', '') = 'uri'
) STORED;
