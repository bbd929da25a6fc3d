"""`elmo report FOLDERS -o report.pdf`: a paper made from finished runs."""
