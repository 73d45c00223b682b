//! Routes messages by region and turns effects into IO; runs with threads or step by step.
