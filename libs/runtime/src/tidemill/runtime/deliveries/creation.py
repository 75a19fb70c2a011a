"""The delivery of a prediction's last webhook, which is made by the statement that ends the prediction."""

from typing import Final

# A part of predictions.ending.END, so that an end and its delivery are one commit. `ended` has the rows that were
# ended, with an id for the delivery of each. Cost: one row and its index entries for each that has a webhook.
CREATE_FOR_ENDED: Final = """
INSERT INTO webhook_delivery (id, prediction_id, account_id, url)
SELECT delivery, id, account_id, webhook FROM ended
WHERE webhook IS NOT NULL AND (webhook_events IS NULL OR 'completed' = ANY (webhook_events))"""
