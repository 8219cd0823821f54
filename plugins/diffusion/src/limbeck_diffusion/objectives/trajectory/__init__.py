"""Students that follow the trajectories of a teacher."""
