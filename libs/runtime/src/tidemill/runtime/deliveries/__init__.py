"""Every statement that writes `webhook_delivery`: the life of a webhook from a prediction's end to its receiver.

Services call these functions and write the table nowhere else; the dispatcher decides, in pure modules, what to write.
"""
