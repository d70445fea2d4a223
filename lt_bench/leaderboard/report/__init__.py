"""One row of a board class by class: figures, confusions, a picture and a page."""
