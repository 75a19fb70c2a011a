import mmap
import os

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.file = open("weights.bin", "rb")
        self.weights = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)

    def predict(self) -> dict:
        """Reads all of it; tells which file the kernel has mapped and how much memory is this process's own for it."""
        read = sum(self.weights[at] for at in range(0, len(self.weights), mmap.PAGESIZE))
        inode, private_kb, at_weights = 0, 0, False
        with open("/proc/self/smaps") as maps:
            for line in maps:
                words = line.split()
                if not words[0].endswith(":"):
                    at_weights = line.rstrip().endswith(os.path.realpath("weights.bin"))
                    inode = int(words[4]) if at_weights else inode
                elif at_weights and words[0] in {"Private_Clean:", "Private_Dirty:"}:
                    private_kb += int(words[1])
        return {"read": read, "inode": inode, "private_dirty_kb": private_kb}
