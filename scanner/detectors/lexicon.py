"""The words that field names are made of, in twelve languages; data only, `names.py` applies it.

How to read it: tag -> language -> words, separated by blanks. A word is compared as a whole token,
never as a substring: `face` does not match `surface`. `_` inside a word joins tokens that must
follow each other (`id_card`). Chinese, Japanese and Korean words are found by cutting the whole
name into words of this file, so harmless compounds (`顔料` pigment, `脸书` Facebook) stand here
too, under `neutral`. Matching ignores case, accents, plurals.

A plain modality tag (`face`) is weak: it needs a partner in the name (`template`, `image`, `bio`
words) or values that agree. `.strong` speaks alone, `.photo` and `.template` also say what the
values are.
"""

from __future__ import annotations

LEXICON: dict[str, dict[str, str]] = {
    # ------------------------------------------------------------------ biometric modalities
    "face": {
        "ko": "얼굴 안면 eolgul",
        "en": "face facial",
        "ja": "顔 顔面 フェイス",
        "zh": "人脸 脸部 面部 脸 面容 人臉 臉部 臉",
        "es": "rostro cara facial faciales",
        "fr": "visage faciale faciaux",
        "de": "gesicht gesichts",
        "pt": "rosto faciais",
        "hi": "chehra chehre",
        "ar": "وجه وجوه",
        "ru": "лицо лица лицевой",
    },
    "face.photo": {
        "ko": "얼굴사진 안면사진 증명사진 여권사진 프로필사진 본인사진 셀카",
        "en": "selfie headshot mugshot mug_shot portrait_photo passport_photo passport_picture "
        "profile_photo profile_picture profile_pic id_photo id_picture badge_photo "
        "visa_photo jpeg_photo thumbnail_photo "
        "passport_image_face face_photo",
        "ja": "顔写真 証明写真 顔画像 自撮り",
        "zh": "人脸照 证件照 大头照 证件照片 自拍 自拍照 證件照 大頭照 證件照片",
        "es": "foto_carnet foto_perfil foto_rostro",
        "fr": "photo_identite photo_d_identite photo_visage",
        "de": "lichtbild passbild passfoto gesichtsbild gesichtsfoto",
        "pt": "foto_rosto foto_3x4",
        "ar": "صورة_شخصية صورة_وجه",
        "ru": "фото_лица фотография_лица селфи",
    },
    "face.template": {
        "ko": "얼굴특징 안면특징 얼굴특징점 얼굴특징벡터 얼굴템플릿",
        "en": "faceprint face_print facial_print arcface facenet vggface insightface "
        "cosface adaface sphereface "
        "magface openface deepface sface ghostfacenet face_net vgg_face arc_face "
        "deep_face faceencoding",
        "ja": "顔特徴量 顔特徴 顔テンプレート",
        "zh": "人脸特征 人脸特征值 人脸的向量 人脸向量 面部特征 人臉特徵 人臉特徵值 人臉向量",
        "es": "codificaciones_faciales codificacion_facial",
        "fr": "gabarit_facial gabarit_visage",
        "de": "gesichtsvektor gesichtsmerkmale gesichtsvorlage gesichtstemplate",
    },
    "fingerprint.strong": {
        "en": "fingerprint finger_print thumbprint thumb_print dactyloscopy livescan "
        "tenprint ten_print",
        "zh": "指纹 指紋",
        "ja": "指紋",
        "es": "huella_dactilar huellas_dactilares huella_digital dactilar",
        "fr": "empreinte_digitale empreintes_digitales",
        "de": "fingerabdruck fingerabdrucke fingerabdrucks",
        "pt": "impressao_digital impressoes_digitais",
        "hi": "ungli_chhap angutha_chhap",
        "ar": "بصمة_اصبع بصمات_اصابع بصمة_اصابع",
        "ru": "отпечаток_пальца отпечатки_пальцев отпечаток_пальцев дактилоскопия",
    },
    "fingerprint.template": {
        "ko": "지문특징 지문특징점 지문템플릿",
        "en": "minutiae minutia fmd xyt wsq fingerprint_template",
        "zh": "指纹特征 指紋特徵",
        "ja": "指紋特徴 マニューシャ",
        "es": "minucias",
    },
    "fingerprint": {
        "ko": "지문 손가락",
        "en": "finger fingertip",
        "ja": "指",
        "zh": "手指",
        "es": "huella dedo",
        "fr": "empreinte doigt",
        "de": "finger",
        "pt": "dedo digitais",
        "hi": "ungli angutha",
        "ar": "بصمة بصمات اصبع",
        "ru": "отпечаток отпечатки палец пальца пальцев",
    },
    "palm.strong": {
        "en": "palmprint palm_print hand_geometry",
        "ko": "장문이미지 손바닥정보",
        "zh": "掌纹 掌紋",
        "ja": "掌紋",
        "es": "huella_palmar",
        "fr": "empreinte_palmaire",
        "de": "handabdruck handflachenabdruck",
    },
    "palm": {
        "en": "palm",
        "ko": "장문 손바닥",
        "zh": "手掌",
        "ja": "手のひら",
        "es": "palma",
        "fr": "paume",
        "ru": "ладонь ладони",
    },
    "vein.strong": {
        "en": "finger_vein palm_vein hand_vein vein_pattern",
        "ko": "지정맥 손정맥 손바닥정맥",
        "zh": "指静脉 掌静脉 指靜脈 掌靜脈",
        "ja": "指静脈 手のひら静脈 掌静脈",
    },
    "vein": {
        "en": "vein",
        "ko": "정맥",
        "zh": "静脉 靜脈",
        "ja": "静脈",
        "es": "vena venas",
        "fr": "veine",
        "de": "vene venen",
        "pt": "veia",
        "ru": "вена вены вен",
    },
    "iris.strong": {
        "ko": "홍채",
        "en": "iriscode iris_code irisscan",
        "zh": "虹膜",
        "ja": "虹彩",
        "ru": "радужка радужной радужная",
        "ar": "قزحية",
    },
    "iris": {"en": "iris", "de": "regenbogenhaut"},
    "retina": {
        "ko": "망막",
        "en": "retina retinal",
        "zh": "视网膜 視網膜",
        "ja": "網膜",
        "fr": "retine",
        "de": "netzhaut",
        "ar": "شبكية",
        "ru": "сетчатка сетчатки",
    },
    "voice.template": {
        "ko": "성문특징 음성특징",
        "en": "voiceprint voice_print xvector x_vector dvector d_vector ivector i_vector ecapa",
        "zh": "声纹 聲紋 声纹特征 聲紋特徵",
        "ja": "声紋",
        "es": "huella_vocal",
        "fr": "empreinte_vocale",
        "de": "stimmabdruck",
        "pt": "impressao_vocal",
        "ar": "بصمة_صوت",
    },
    "voice": {
        "ko": "음성 목소리 성문",
        "en": "voice speaker",
        "zh": "声音 语音 聲音 語音",
        "ja": "音声 声",
        "es": "voz",
        "fr": "voix locuteur",
        "de": "stimme sprecher",
        "pt": "falante",
        "hi": "awaaz aawaz",
        "ar": "صوت",
        "ru": "голос голоса",
    },
    "gait.strong": {
        "ko": "걸음걸이",
        "en": "gait",
        "zh": "步态 步態",
        "ja": "歩容",
        "ru": "походка походки",
    },
    "gait": {"es": "marcha", "fr": "demarche", "de": "gang gangbild", "ko": "보행", "ar": "مشية"},
    "dna.strong": {
        "ko": "유전자정보 유전자프로필 디엔에이",
        "en": "dna_profile dna_sample dna_swab dna_marker codis str_profile genetic_profile "
        "genetic_data "
        "genetic_sample amelogenin",
        "es": "perfil_genetico perfil_adn muestra_adn",
        "fr": "profil_genetique",
        "de": "genprofil",
        "pt": "perfil_genetico",
        "ru": "профиль_днк",
    },
    "dna": {
        "ko": "유전자",
        "en": "dna genotype genome",
        "zh": "基因",
        "ja": "遺伝子",
        "es": "adn genotipo",
        "de": "dns",
        "ru": "днк",
    },
    "signature": {
        "ko": "서명 사인 필적",
        "en": "signature handwriting",
        "zh": "签名 签字 簽名 簽字 笔迹 筆跡",
        "ja": "署名 筆跡",
        "es": "firma",
        "de": "unterschrift",
        "pt": "assinatura",
        "hi": "hastakshar",
        "ar": "توقيع",
        "ru": "подпись подписи",
    },
    "signature.strong": {
        "en": "handwritten_signature signature_image signature_photo signature_scan "
        "signature_strokes",
        "ko": "자필서명 서명이미지 서명사진 수기서명",
        "zh": "手写签名 手寫簽名",
        "ja": "手書き署名",
        "es": "firma_manuscrita",
        "fr": "signature_manuscrite",
        "pt": "assinatura_manuscrita",
    },
    "keystroke.strong": {
        "ko": "키스트로크 타이핑패턴 자판입력패턴",
        "en": "keystroke keystroke_dynamic typing_pattern typing_rhythm typing_dynamic "
        "typing_biometric",
        "zh": "击键 擊鍵",
        "ja": "キーストローク",
        "es": "pulsaciones_teclado",
        "de": "tastenanschlag",
    },
    "biometric": {
        "ko": "생체 생체정보 생체인식 생체인식정보 생체특징",
        "en": "biometric bio_template biometrics",
        "zh": "生物特征 生物识别 生物特徵 生物識別",
        "ja": "生体 生体情報 生体認証",
        "es": "biometrico biometrica biometricos biometria",
        "fr": "biometrique biometriques biometrie",
        "de": "biometrisch biometrische biometrie",
        "pt": "biometrico biometrica biometria",
        "ar": "بيومترية حيوية",
        "ru": "биометрия биометрический биометрические биометрии",
    },
    # ------------------------------------------------------------------ identifiers
    "passport": {
        "ko": "여권 여권번호 yeogwon",
        "en": "passport passportno passportnumber pspt",
        "zh": "护照 護照 护照号 護照號碼 护照号码",
        "ja": "旅券 旅券番号 パスポート",
        "es": "pasaporte",
        "fr": "passeport",
        "de": "reisepass reisepassnummer passnummer",
        "pt": "passaporte",
        "ar": "جواز جواز_سفر جواز_السفر",
        "ru": "паспорт паспорта",
    },
    "national.strong": {
        "ko": "주민등록번호 주민번호 외국인등록번호 외국인번호 운전면허번호 "
        "운전면허증번호 고유식별정보 고유식별번호 "
        "jumin juminno jumin_no jumin_number",
        "en": "rrn ssn social_security_number social_security_no social_security "
        "national_id national_identity_number "
        "national_identification_number national_identifier national_number "
        "national_insurance_number "
        "alien_registration_number alien_registration_no alien_number resident_registration_number "
        "resident_registration_no identity_card_number identity_card_no "
        "id_card_number id_card_no idcard_no idcardno "
        "id_number idnumber driver_license_number driver_license_no "
        "driver_licence_number driver_licence_no "
        "drivers_license_number drivers_license_no driving_licence_number "
        "residence_card_number residence_card_no "
        "my_number nric citizen_id citizen_number arc_no arc_number nationalid",
        "zh": "身份证 身份证号 身份证号码 身分證 身分證號 身分證字號 身份證 "
        "身份證號 公民身份号码 公民身份号 sfzh",
        "ja": "マイナンバー 個人番号 在留カード番号 免許証番号 運転免許証番号",
        "es": "dni curp nif documento_identidad numero_documento cedula numero_identidad",
        "fr": "numero_securite_sociale numero_insee nss",
        "de": "personalausweis personalausweisnummer ausweisnummer steuerid steuer_id "
        "sozialversicherungsnummer",
        "pt": "cpf cpf_numero numero_cpf",
        "hi": "aadhaar aadhar adhaar aadhaar_no pan_card pan_number pan_no",
        "it": "codice_fiscale",
        "ar": "رقم_هوية رقم_الهوية هوية_وطنية",
        "ru": "снилс номер_паспорта_рф инн_физлица",
    },
    "national": {"en": "arc nid", "fr": "nir", "es": "nie", "hi": "pan", "ru": "инн"},
    "subject.strong": {
        "ko": "사번 사원번호 직원번호 학번 회원번호 환자번호 고객번호 피험자번호 "
        "군번 수험번호 인물번호",
        "en": "empno emp_no emp_id empid matriculation_no personnel_no personnel_number "
        "badge_no badge_number badge_id "
        "personid person_key person_uuid",
        "zh": "工号 工號 员工编号 學號 学号 员工号 人员编号",
        "ja": "社員番号 職員番号 学籍番号 患者番号 会員番号 被験者番号",
        "de": "personalnummer mitarbeiternummer matrikelnummer kundennummer patientennummer",
        "fr": "matricule",
        "es": "numero_empleado",
        "pt": "matricula_funcionario",
        "ru": "табельный_номер",
    },
    "person": {
        "ko": "직원 사원 환자 학생 피험자 대상자 신청자 입국자 출국자 외국인 "
        "내국인 인물 본인 개인 승객 여행자 정보주체 "
        "출입국자 수험자 국민",
        "en": "person subject employee individual identity citizen resident applicant "
        "traveler traveller passenger "
        "patient suspect inmate detainee student staff participant celebrity pax immigrant migrant "
        "pseudonym enrollee examinee crew cardholder voter child children",
        "zh": "人员 员工 学生 患者 旅客 乘客 公民 个人 人員 員工 學生 個人 身份 身分 被试",
        "ja": "社員 職員 学生 患者 旅客 被験者 本人 個人 人物 外国人",
        "es": "persona empleado paciente pasajero ciudadano sujeto solicitante alumno",
        "fr": "personne employe patient passager citoyen sujet demandeur etudiant",
        "de": "person mitarbeiter patient passagier burger antragsteller schuler proband",
        "pt": "pessoa funcionario paciente passageiro cidadao sujeito requerente aluno",
        "hi": "vyakti karmchari nagrik",
        "ar": "شخص موظف مريض مسافر مواطن",
        "ru": "человек сотрудник сотрудника пациент пассажир гражданин субъект лицо_id "
        "персона персоны",
    },
    "party": {  # people or firms: fires only beside something personal
        "ko": "고객 회원 사용자 이용자 계정",
        "en": "visitor user customer client member account owner author buyer rider guest "
        "profile contact borrower",
        "zh": "用户 客户 会员 用戶 客戶 會員",
        "ja": "顧客 会員 ユーザー 利用者",
        "es": "usuario cliente",
        "fr": "utilisateur client",
        "de": "kunde nutzer benutzer",
        "pt": "usuario cliente",
        "ru": "клиент пользователь",
    },
    "id": {
        "ko": "번호 아이디 식별자 코드 키 등록번호",
        "en": "id ids no nr num_id number key uid uuid guid identifier code num",
        "zh": "号 号码 编号 標識 标识 號 號碼 編號 证号 證號",
        "ja": "番号 ナンバー",
        "es": "numero num",
        "fr": "numero identifiant",
        "de": "nummer kennung",
        "pt": "numero codigo",
        "hi": "sankhya",
        "ar": "رقم معرف",
        "ru": "номер ид идентификатор",
    },
    "name.strong": {
        "ko": "성명 영문성명 한글성명 고객명 직원명 사원명 환자명 학생명 회원명",
        "en": "full_name fullname first_name firstname last_name lastname surname "
        "given_name givenname family_name "
        "familyname middle_name middlename maiden_name forename person_name "
        "legal_name display_name_person "
        "given_names person_display_name",
        "zh": "姓名",
        "ja": "氏名 姓名 フルネーム お名前",
        "es": "apellido nombre_completo nombre_apellido nombres_apellidos primer_apellido "
        "segundo_apellido",
        "fr": "prenom nom_famille nom_de_famille nom_complet nom_prenom",
        "de": "vorname nachname familienname geburtsname",
        "pt": "sobrenome nome_completo apelido",
        "ar": "اسم_كامل الاسم_الكامل اسم_عائلة لقب",
        "ru": "фио фамилия отчество",
    },
    "name": {
        "ko": "이름",
        "en": "name",
        "zh": "名字",
        "ja": "名前",
        "es": "nombre",
        "fr": "nom",
        "pt": "nome",
        "hi": "naam",
        "ar": "اسم",
        "ru": "имя",
    },
    # ------------------------------------------------------------------ attributes
    "nationality": {
        "ko": "국적 gukjeok",
        "en": "nationality citizenship native_country country_of_birth birth_country "
        "country_of_citizenship "
        "citizenship_country nationality_code country_of_nationality nationalities",
        "zh": "国籍 國籍",
        "ja": "国籍",
        "es": "nacionalidad ciudadania pais_nacimiento",
        "fr": "nationalite citoyennete pays_naissance",
        "de": "nationalitat staatsangehorigkeit staatsburgerschaft",
        "pt": "nacionalidade cidadania",
        "hi": "rashtriyata nagrikta",
        "ar": "جنسية الجنسية",
        "ru": "гражданство",
    },
    "gender": {
        "ko": "성별",
        "en": "gender sex",
        "zh": "性别 性別",
        "ja": "性別",
        "es": "sexo",
        "fr": "sexe",
        "de": "geschlecht",
        "pt": "sexo",
        "ar": "جنس نوع_اجتماعي",
    },
    "gender.weak": {
        "en": "male female ismale isfemale",
        "es": "genero",
        "hi": "ling",
        "ru": "пол",
    },
    "age": {
        "ko": "나이 연령 연령대 만나이 생년월일 생일 출생일 출생년도 생년",
        "en": "date_of_birth birth_date birthdate birthday dob year_of_birth birth_year yob "
        "age_group age_range "
        "age_bracket age_band age_years age_in_years birth_day",
        "zh": "年龄 年齡 出生日期 出生年月 生日 年龄段",
        "ja": "年齢 生年月日 誕生日 年代層",
        "es": "edad fecha_nacimiento fecha_de_nacimiento",
        "fr": "date_naissance date_de_naissance tranche_age",
        "de": "geburtsdatum geburtsjahr lebensalter altersgruppe",
        "pt": "idade data_nascimento data_de_nascimento",
        "hi": "janm_tithi",
        "ar": "عمر العمر تاريخ_ميلاد تاريخ_الميلاد",
        "ru": "возраст дата_рождения год_рождения",
    },
    "age.weak": {"en": "age", "de": "alter", "hi": "umr ayu umar"},
    "ethnicity": {
        "ko": "인종 민족 피부색",
        "en": "ethnicity ethnic ethnic_group ethnic_origin race_ethnicity skin_tone "
        "skintone skin_color skin_colour "
        "fitzpatrick ancestry caste racial racial_group",
        "zh": "种族 民族 種族 人种 肤色 膚色",
        "ja": "人種 民族 肌の色",
        "es": "etnia etnicidad raza color_piel",
        "fr": "ethnie origine_ethnique couleur_peau",
        "de": "ethnie ethnische_herkunft hautfarbe ethnizitat",
        "pt": "etnia raca cor_pele raca_cor",
        "hi": "jaati jati",
        "ar": "عرق اصل_عرقي",
        "ru": "раса этнос национальность этническая_принадлежность",
    },
    "ethnicity.weak": {"en": "race", "de": "rasse"},
    # ------------------------------------------------------------------ documents and places
    "mrz": {"en": "mrz machine_readable_zone mrz_line mrz_text"},
    "idcard": {
        "ko": "신분증 신분증사진 주민등록증 운전면허증 외국인등록증 신분증사본",
        "en": "id_card idcard identity_card identity_document id_front id_back id_document "
        "driver_license "
        "driver_licence drivers_license driving_licence residence_card resident_card "
        "passport_scan passport_copy "
        "passport_image passport_page national_id_card",
        "zh": "身份证照片 身份证正面 身份证反面 身份证图片 身分證照片 驾驶证 駕照",
        "ja": "身分証 身分証明書 免許証 運転免許証 在留カード",
        "es": "carnet_identidad documento_foto",
        "fr": "carte_identite carte_d_identite permis_conduire",
        "de": "ausweisbild ausweiskopie ausweisfoto fuhrerschein",
        "pt": "carteira_identidade",
        "ru": "удостоверение_личности скан_паспорта",
    },
    "lat": {
        "en": "latitude lat gpslatitude",
        "ko": "위도",
        "zh": "纬度 緯度",
        "ja": "緯度",
        "es": "latitud",
        "de": "breitengrad",
        "ru": "широта",
    },
    "lon": {
        "en": "longitude lon lng long gpslongitude",
        "ko": "경도",
        "zh": "经度 經度",
        "ja": "経度",
        "es": "longitud",
        "de": "langengrad",
        "ru": "долгота",
    },
    "gps": {"en": "gps geolocation"},
    # ------------------------------------------------------------------ partners of weak words
    "template": {
        "ko": "특징 특징점 특징벡터 벡터 템플릿 임베딩 특징값 특징량 특징데이터",
        "en": "embedding emb embed feature feat template tmpl vector vec descriptor "
        "encoding encoded representation "
        "print latent signature_vector hash",
        "zh": "特征 特征向量 特征值 向量 模板 嵌入 特徵 特徵向量 特徵值 編碼 编码",
        "ja": "特徴量 特徴 特徴点 ベクトル テンプレート 埋め込み 特徴ベクトル",
        "es": "plantilla vector caracteristicas codificacion codificaciones",
        "fr": "gabarit vecteur caracteristiques encodage",
        "de": "merkmal merkmale merkmalsvektor vektor vorlage",
        "pt": "modelo vetor caracteristicas codificacao",
        "ar": "قالب متجه",
        "ru": "шаблон шаблоны вектор вектора признаки эмбеддинг дескриптор",
    },
    "image": {
        "ko": "사진 이미지 영상 스캔 원본이미지",
        "en": "image img photo photograph picture pic scan jpeg jpg png crop thumbnail "
        "portrait snapshot bitmap avatar",
        "zh": "照片 图片 图像 影像 圖片 圖像 相片 照",
        "ja": "写真 画像 イメージ 静止画",
        "es": "imagen foto fotografia",
        "fr": "photo image photographie",
        "de": "bild foto scan",
        "pt": "imagem foto",
        "hi": "tasveer photo",
        "ar": "صورة صور",
        "ru": "фото фотография изображение снимок скан",
    },
    "audio": {
        "ko": "오디오 녹음 음원 음성파일",
        "en": "audio wav wave recording utterance speech sample mp3 flac",
        "zh": "录音 音频 錄音 音頻",
        "ja": "録音 オーディオ",
        "es": "grabacion audio",
        "de": "aufnahme",
        "ru": "запись аудио",
    },
    "bio": {  # says that a weak modality word is meant biometrically
        "ko": "인식 인식정보 정보 데이터 인증 원본",
        "en": "biometric data json recognition sample bytes blob raw scan record "
        "handwritten binary base64 b64 "
        "geometry landmark landmarks enrolment enrollment reference gallery probe",
        "zh": "识别 数据 信息 識別 數據 資料 資訊 认证",
        "ja": "認証 認識 データ 情報",
        "es": "datos biometrico reconocimiento digital",
        "fr": "donnees reconnaissance digitale digitales",
        "de": "daten erkennung",
        "pt": "dados reconhecimento digital",
        "ar": "بيانات",
        "ru": "данные распознавание",
    },
    # ------------------------------------------------------------------ words that say "about it,
    # not it"
    "lead": {
        "ko": "유무",
        "en": "has is num n nb count cnt number_of total avg mean max min std sum pct "
        "percent no_of have with can should "
        "use enable allow require n_faces",
    },
    "about": {
        "ko": "여부 경로 파일 파일명 개수 점수 일시 일자 수 주소 상태 유형 종류 "
        "크기 위치 만료일 발급일 품질 신뢰도 발급국 "
        "유사도 횟수 결과 모델 버전 비율 만료 발급",
        "en": "path file filename filepath url uri href link dir directory folder count "
        "counts cnt score scores "
        "confidence conf prob probability bbox box boxes bounding rect x y w h z "
        "width height left top right bottom "
        "size area quality blur sharpness detected detection detector detections "
        "index idx ratio threshold status "
        "verified verification match matched matching similarity distance time "
        "timestamp date datetime at created updated "
        "model version type category label class classes format mime ext extension "
        "dim dims dimension length enabled "
        "unlock login attempt device sensor error flag expiry expires expiration "
        "expire issue issued issuing issuer "
        "valid validity authority place color colour angle yaw pitch roll pose mask "
        "shape expression emotion attribute "
        "orientation visible occluded md5 sha sha1 sha256 checksum etag name filename "
        "title description caption "
        "rate frequency speed duration rank position order language lang locale "
        "accent activity actor effect assistant "
        "command channel call bot agent mail",
        "zh": "路径 路徑 数量 數量 得分 分数 置信度 状态 类型 尺寸 时间 文件名 "
        "文件 有效期 地址 质量",
        "ja": "パス ファイル ファイル名 有無 件数 スコア 日時 状態 種類 有効期限 品質",
        "es": "ruta archivo fecha estado tipo puntuacion vencimiento",
        "fr": "chemin fichier statut type expiration",
        "de": "pfad datei anzahl datum status typ ablauf gultig",
        "pt": "caminho arquivo estado tipo validade",
        "ar": "مسار ملف تاريخ عدد",
        "ru": "путь файл дата статус тип количество",
    },
    # ------------------------------------------------------------------ words that change nothing
    "neutral": {
        "ko": "등록 값 원본 암호화 영문 한글 국문 왼손 오른손 왼쪽 오른쪽 엄지 "
        "검지 중지 약지 소지 기준 관리 목록 현재 최종 "
        "주요 일련번호 식별 출입국 입국 출국 심사 표면 인터페이스 화면 측면 정면 "
        "지문항목 음성검사 질문 정답 다국적 속성별 "
        "상품 제품 회사 부서 도시 전국 파일이름 상품이름 제품이름 회사이름 검사 양성",
        "en": "the a an of for and or to in my our raw new old current original primary "
        "main first second left right "
        "front back index middle ring little thumb pinky hash hashed encrypted enc "
        "masked anonymized value values col "
        "column field str string int float list array bytes blob binary base64 b64 "
        "data info information v2 v1 std norm "
        "normalized l2 mean avg group range years at self reported target gt true "
        "pred predicted estimated est "
        "apparent real",
        "zh": "的 左 右 值 表面 界面 页面 頁面 方面 平面 脸书 臉書 加密 名称 産品 "
        "商品 产品 公司 系统 信息系统 数据库",
        "ja": "の 顔料 顔文字 洗顔 笑顔 表面 界面 画面 方面 面積 声優 声明 指数 "
        "指定 指示 指標 指令 商品 製品 会社 左 右 値 "
        "音声認識 左手 右手 大声",
        "de": "der die das von und",
        "es": "de del la el los las y",
        "fr": "du des le les et d l",
        "pt": "do da dos das e",
    },
}

# Chinese, Japanese and Korean words that may be found inside a name of which the rest is unknown:
# no ordinary
# word contains them (unlike 성별 in 속성별, 국적 in 다국적, 음성 "negative", 地纹). Such a find is
# never
# `certain`
# by the name alone.
ANYWHERE = (
    "얼굴 홍채 주민등록번호 주민번호 여권번호 외국인등록번호 생체정보 사원번호 "
    "人脸 人臉 虹膜 身份证号 身份證號 身分證 护照 護照 声纹 聲紋 掌纹 "
    "顔写真 指紋 掌紋 旅券番号 マイナンバー 在留カード番号 指纹 パスポート"
)

# A word beside it in the same name that takes the meaning away: `hugging_face`,
# `device_fingerprint`, `race_time`.
NOT_WITH: dict[str, str] = {
    "face": "hugging hf type typeface inter sur book value amount font mesh "
    "vertex vertices normal normals edge "
    "triangle polygon quad cell tetra clock watch cube rock cliff poker anime cartoon "
    "manga comic sims sim toon emoji "
    "doll cat dog cow pet animal monkey bold pre boundary cream wash wall die dice "
    "shield 动漫 アニメ 만화",
    "fingerprint": "device browser ssh key cert certificate tls ssl ja3 sha sha1 "
    "sha256 md5 hash molecular molecule "
    "morgan maccs ecfp rdkit chemical mol audio acoustic chromaprint file content "
    "code error query request build gpg "
    "pgp canvas agent log spectral wifi rf git host server http tcp os traffic peer "
    "public gene dataset event issue "
    "设备 浏览器 文件 carbon environmental ecologica ecologique carbono carbone hidrica food",
    "iris": "sepal petal species flower versicolor setosa virginica sts dataset "
    "intersystems murdoch",
    "voice": "ip over phone mail assistant actor active passive genre tts bot "
    "active call calls number plan minutes",
    "palm": "oil tree kernel os beach pilot springs",
    "vein": "leaf ore quartz gold",
    "retina": "display net retinanet screen 2x",
    "gait": "speed robot horse",
    "dna": "methylation kinase polymerase binding repair",
    "signature": "function method api digital jwt hmac webhook type tx "
    "transaction ed25519 ecdsa rsa gene mutational "
    "code key email time spectral dish drink pgp gpg request header token commit "
    "block crypto cookie",
    "keystroke": "",
    "age": "house building car vehicle account cache max min domain stone rock "
    "tree limit rating restricted restriction "
    "required allowed page session message file snapshot data record ticket days "
    "hours minutes seconds ice bronze "
    "policy property company loan machine equipment asset battery token cookie commit "
    "inventory stock roof well",
    "gender": "grammatical noun ratio gap pay studies",
    "ethnicity": "time date id lap laps condition track distance car drag horse "
    "no number round type result results "
    "winner class start finish boat detector data_race name",
    "nationality": "",
    "national": "light angle length degree sin cos tan circle weld flash band frq "
    "spectrum pixel hz nir_band red "
    "frying zoom tilt",
    "selfie": "smiles molecule stick camera",
    "embedding": "text word clip sentence query document doc product item token "
    "title caption openai ada bert glove "
    "node graph code paragraph chunk movie song music category position positional "
    "time molecule protein dino user "
    "article passage question answer keyword tag label article content abstract "
    "summary review job skill entity "
    "relation concept comment tweet post email url page site video ad search subword "
    "char char sku recipe brand genre "
    "track playlist merchant store location geo city poi gene cell 텍스트 문장 단어 상품 文本 文章",
}

# Words in *other* columns of the table that take the meaning away.
NOT_BESIDE: dict[str, str] = {
    "iris": "sepal petal species sepallength petallength sepalwidth petalwidth",
    "face": "vertex vertices normal normals mesh coupon maturity tetrahedra faceted",
    "selfie": "smiles inchi molecule mol inchikey canonical_smiles logp",
    "fingerprint": "smiles inchi molecule mol inchikey logp sha256 ja3",
    "ethnicity": "lap laps circuit circuits horse jockey constructor bib pit grid "
    "podium racetrack stint checkpoint",
    "age": "breed species cement slag beak hatch trunk odometer mileage",
    "gender": "breed species lemma upos bill beak declension plural",
    "name": "breed species sku brand",
}
