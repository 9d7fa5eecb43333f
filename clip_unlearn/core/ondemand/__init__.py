"""Made on demand, to be looked up: which pictures a request needs, and how they are kept.

    sampling   which pictures a request needs, and what they say of all other cells
    kept       pictures that are kept are looked up, the others are made
    store      rows under the names of what made them
    blend      pictures and features in closed form become prototypes
    cost       what is missing, and how long it will take
    progress   one bar for the whole of a long job
    threads    pieces of the work side by side, a thread each

The method is in the folder above; what is here makes it quick, and lets it be interrupted.
"""
