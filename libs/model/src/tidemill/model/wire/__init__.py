"""The messages between a worker, a zygote and a child, and the child's end of the data socket."""
