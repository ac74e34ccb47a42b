"""Before room 1: from where students hand in to one folder that `course grade` takes.

learning platform's zip, exchange or folder
  platforms   whose is which file, by the names that platforms give
  collect     every attempt kept, the newest in place
  receipts    what came when, sealed with the course's key

INTO/STUDENT or INTO/STUDENT.zip     the attempt that counts
INTO/.attempts/STUDENT/NUMBER        all of them; nothing that was handed in is ever lost
INTO/.receipts.jsonl, INTO/.key      receipts, and the key that they are sealed with
"""
